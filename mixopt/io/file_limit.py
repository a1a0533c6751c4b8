"""The number of files that this process may have open."""

from contextlib import suppress

WANTED = (1 << 16, 10_240)
"""Limits to try in turn: enough for any study, and what macOS grants where its stated limit is none.

The hard limit itself may be a thousand million, and programs exist that close so many files one by one.
"""


def raise_file_limit() -> None:
    """Allow more open files than the usual 1,024, as far as the system grants."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    for wanted in WANTED:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if limit <= soft:
            return
        with suppress(ValueError, OSError):  # the system grants less than it states
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            return
