"""Globs of files, in folders and for files whose own names hold the marks of globs (`run[1]`)."""

import logging
import os
from collections.abc import Hashable, Iterable
from functools import cache
from glob import escape, glob, has_magic
from os.path import normpath
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Hashable)


def expand_glob(pattern: str) -> list[str]:
    """Return the paths that match a glob, sorted; the pattern alone where a path has that very name.

    Args:
        pattern: May hold `**`.
    """
    return [pattern] if os.path.lexists(pattern) else sorted(glob(pattern, recursive=True))


def anchor_glob(pattern: str, folder: Path) -> str:
    """Return a glob or a path as an absolute one; the folder's name stands for itself alone.

    Args:
        pattern: Relative to the folder, or absolute already, perhaps from `~` on.
        folder: Where a relative one starts.
    """
    pattern = os.path.expanduser(pattern)
    if not has_magic(pattern):
        return normpath((folder / pattern).absolute())
    if Path(pattern).is_absolute():
        return pattern
    return normpath(Path(escape(str(folder.absolute()))) / pattern)


def drop_repeats(files: Iterable[T]) -> list[T]:
    """Return each file once; of a file and links to it the one that is named first.

    Args:
        files: Paths, of which the files themselves are compared, and other names of files.
    """
    kept: dict[Hashable, T] = {}
    left: list[tuple[T, T]] = []
    for file in files:
        first = kept.setdefault(os.path.realpath(file) if isinstance(file, Path) else file, file)
        if first != file:
            left.append((file, first))
    if left:
        _tell_links(str(left[0][0]), str(left[0][1]), len(left) - 1)
    return list(kept.values())


@cache
def _tell_links(file: str, first: str, more: int) -> None:
    also = f" (and {more:,} more such)" if more else ""
    log.warning("%s is the same file as %s and is left out%s.", file, first, also)
