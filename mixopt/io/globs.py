"""Globs of files, in folders and for files whose own names hold the marks of globs (`run[1]`)."""

import os
from glob import escape, glob, has_magic
from os.path import normpath
from pathlib import Path


def expand_glob(pattern: str) -> list[str]:
    """Return the paths that match a glob, sorted; the pattern alone where a path has that very name.

    Args:
        pattern: May hold `**`.
    """
    return [pattern] if os.path.lexists(pattern) else sorted(glob(pattern, recursive=True))


def anchor_glob(pattern: str, folder: Path) -> str:
    """Return a glob or a path as an absolute one; the folder's name stands for itself alone.

    Args:
        pattern: Relative to the folder, or absolute already.
        folder: Where a relative one starts.
    """
    if not has_magic(pattern):
        return normpath((folder / pattern).absolute())
    if Path(pattern).is_absolute():
        return pattern
    return normpath(Path(escape(str(folder.absolute()))) / pattern)
