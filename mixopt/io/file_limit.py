"""The number of files that this process may have open."""

from contextlib import suppress

ALWAYS_ALLOWED = 10_240
"""What macOS allows where its stated limit is none."""


def raise_file_limit() -> None:
    """Allow as many open files as the system grants; a study may have more than the usual 1,024."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, ALWAYS_ALLOWED):
        if soft == resource.RLIM_INFINITY or soft == hard or (0 < wanted <= soft):
            return
        with suppress(ValueError, OSError):  # the system grants less than it states
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return
