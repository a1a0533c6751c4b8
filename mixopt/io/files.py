"""Files that appear whole or not at all: written beside their place, then renamed."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixopt.errors import OutputError, StorageError

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM)
NO_PLACE = (errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR)


@contextmanager
def publish_folder(folder: Path) -> Iterator[Path]:
    """A scratch folder that becomes `folder` if the block ends well, and vanishes if it does not.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    scratch = None
    try:
        with storage_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            yield scratch
            scratch.chmod(0o755)
            if folder.exists():
                shutil.rmtree(folder)
            scratch.rename(folder)
    finally:
        if scratch is not None and scratch.exists():
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def resume_folder(folder: Path, key: str) -> Iterator[Path]:
    """A scratch folder that becomes `folder` if the block ends well, and is kept if it does not.

    The next call with the same `key` gets it back with what was written so far.

    Raises:
        StorageError: The disk is full or the place cannot be written.
        OutputError: `folder` is there already.
    """
    if folder.exists():
        raise OutputError(f"{folder} is there already; remove it or choose another place.")
    scratch = folder.parent / f".{folder.name}-{key}"
    with storage_errors(folder):
        scratch.mkdir(parents=True, exist_ok=True)
        yield scratch
        scratch.rename(folder)


def write_text(path: Path, text: str) -> Path:
    """`path`, now holding `text` whole; an older file stays until then.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> Path:
    """`path`, now holding `content` whole; an older file stays until then.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    scratch = None
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
            scratch = Path(name)
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            scratch.chmod(0o644)
            scratch.rename(path)
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)
    return path


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns a full disk or an unwritable place into one sentence; all else passes unchanged."""
    try:
        yield
    except Exception as error:
        number = getattr(error, "errno", None)
        # safetensors and torch raise errors of their own that only quote the system's words
        if number in FULL or "No space left on device" in str(error):
            raise StorageError(
                f"The disk is full, so {path} was not written; free some space and run again."
            ) from error
        named = str(getattr(error, "filename", None) or path)
        ours = path.parent.is_relative_to(named) or named.startswith(str(path.parent))
        if number in FORBIDDEN and ours:
            raise StorageError(
                f"{path} cannot be written (permission); choose another place."
            ) from error
        if number in NO_PLACE and ours:
            raise OutputError(
                f"{path} cannot be written ({os.strerror(number)}: {named}); choose another place."
            ) from error
        raise
