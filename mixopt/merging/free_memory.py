"""Memory that this process may still take: the machine's, or its control group's (containers, SLURM)."""

from collections.abc import Iterator
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
FILES = (
    # limit, use, and what of the use the kernel gives back: pages of files that were read
    ("memory.max", "memory.current", ("active_file", "inactive_file")),
    (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_active_file", "total_inactive_file"),
    ),
)
"""Files of a control group, of version 2 and of version 1."""


def count_free_memory(groups: Path = GROUPS, own: Path = OWN) -> int:
    """Return the bytes of main memory that this process may still take.

    Args:
        groups: Folder of all control groups.
        own: File that names the groups of this process.
    """
    free = [int(psutil.virtual_memory().available)]
    for folder in _find_groups(groups, own):
        for limit, use, given_back in FILES:
            most, used = _read_bytes(folder / limit), _read_bytes(folder / use)
            if most is not None and used is not None:
                free.append(most - used + _read_stat(folder / "memory.stat", given_back))
    return max(0, min(free))


def _find_groups(groups: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of this process' groups and of those around them, whose limits hold too."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        # a container sees its own group as the root, whatever path the host calls it by
        root = groups / "memory" if controllers else groups
        inner = root / path.strip("/")
        yield from dict.fromkeys(
            [inner, *(p for p in inner.parents if p.is_relative_to(root)), root]
        )


def _read_bytes(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None  # `max` where there is no limit


def _read_stat(file: Path, names: tuple[str, ...]) -> int:
    try:
        pairs = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
        return sum(int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] in names)
    except (OSError, ValueError):
        return 0
