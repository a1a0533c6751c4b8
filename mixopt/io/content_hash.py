"""Hashes of file contents; those of large files are remembered while the files do not change.

A hash is kept in the user's cache with the file's size, times and inode. It is taken again if one of
these differs, so a file that was written, replaced or restored is read; a bit that a disk loses without
a write is seen when a study is packed, unpacked or transferred, which read every file.
"""

import hashlib
import logging
import os
import time
from pathlib import Path

from mixopt.errors import UserError
from mixopt.io.files import write_text

log = logging.getLogger(__name__)

LARGE = 8 * 2**20
"""Bytes from which a hash is remembered; below, reading takes less than 20 ms."""
SETTLED_S = 2.0
"""Age of the last change from which a hash is remembered: a younger file may change again without a
difference in its times."""


def user_cache() -> Path:
    """Return the folder for what can be made again: MIXOPT_CACHE, or `mixopt` in the user's cache."""
    if named := os.environ.get("MIXOPT_CACHE"):
        return Path(named).absolute()
    parent = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(parent) / "mixopt").absolute()


def write_cached(path: Path, text: str) -> None:
    """Write a text file of the cache; one that cannot be written costs time alone.

    Args:
        path: Of the file, below `user_cache`.
        text: Written in UTF-8.
    """
    try:
        write_text(path, text)
    except (OSError, UserError) as error:
        log.debug("%s is not kept in the cache: %s", path, error)


def hash_content(file: Path, *, read: bool = False) -> str:
    """Return a hash of a file's bytes.

    Args:
        file: A file of any size; it is not held in memory.
        read: Read the file even where its hash is remembered.

    Returns:
        32 hexadecimal digits of BLAKE2b.

    Raises:
        OSError: The file is missing or cannot be read.
    """
    state = file.stat()
    if state.st_size < LARGE:
        return _hash(file)
    # the inode's own change time cannot be set back, unlike the time of modification
    seen = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
    signature = " ".join(map(str, seen))
    note = _note_of(file)
    if not read and (known := _recall(note, signature)):
        return known
    digest = _hash(file)
    if time.time() - max(state.st_mtime, state.st_ctime) > SETTLED_S:
        write_cached(note, f"{signature}\n{digest}\n")
    return digest


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]


def _note_of(file: Path) -> Path:
    place = hashlib.blake2b(os.fsencode(file.absolute()), digest_size=16).hexdigest()
    return user_cache() / "content-hashes" / place[:2] / place


def _recall(note: Path, signature: str) -> str | None:
    try:
        known, _, digest = note.read_text(encoding="utf-8").strip().partition("\n")
    except (OSError, UnicodeDecodeError):  # none yet, or damaged
        return None
    return digest if known == signature and len(digest) == 32 else None
