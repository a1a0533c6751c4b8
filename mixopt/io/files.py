"""Atomic writes: files and folders are written beside their place, then renamed."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixopt.errors import OutputError, StorageError

FULL = (errno.ENOSPC, errno.EDQUOT)
TORCH_WRITERS = ("inline_container", "PytorchStreamWriter")
"""What errors of `torch.save` name that could not write its file."""
NEARLY_FULL = 256 << 20
"""Free bytes of a disk on which a checkpoint that could not be written found no room. Others may have
deleted files since."""
FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM)
NO_PLACE = (errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG)


@contextmanager
def publish_folder(folder: Path) -> Iterator[Path]:
    """Yield a scratch folder that is removed on an exception.

    Args:
        folder: Replaced by the scratch folder on success.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    scratch = None
    try:
        with storage_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            place = _scratch_name(folder)
            place.mkdir()
            scratch = place
            yield scratch
            if folder.exists():
                shutil.rmtree(folder)
            scratch.rename(folder)
    finally:
        if scratch is not None and scratch.exists():
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def fill_folder(folder: Path) -> Iterator[Path]:
    """Yield a scratch folder inside an empty folder, which is removed on an exception.

    The folder itself stays: a shell may be in it.

    Args:
        folder: Gets what the scratch folder holds, on success.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    folder = folder.absolute()
    scratch = folder / f".new-{secrets.token_hex(4)}"
    try:
        with storage_errors(scratch):
            scratch.mkdir()
            yield scratch
            for one in sorted(scratch.iterdir()):
                one.rename(folder / one.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def resume_folder(folder: Path, key: str) -> Iterator[Path]:
    """Yield a scratch folder that is kept on an exception.

    Args:
        folder: Place of the scratch folder on success.
        key: The next call with the same key yields the folder with the files written so far.

    Raises:
        StorageError: The disk is full or the place cannot be written.
        OutputError: `folder` exists already, or another process writes it.
    """
    scratch = folder.parent / f".{folder.name}-{key}"
    with storage_errors(folder), _write_alone(folder):
        if folder.exists():
            raise OutputError(f"{folder} is there already; remove it or choose another place.")
        scratch.mkdir(parents=True, exist_ok=True)
        yield scratch
        scratch.rename(folder)


@contextmanager
def _write_alone(folder: Path) -> Iterator[None]:
    """Hold a lock beside a folder, whose scratch folder two processes would write at once."""
    from filelock import FileLock, Timeout

    file = folder.parent / f".{folder.name}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"Another process is writing {folder}; wait until it has ended, or choose another place."
        ) from None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()


@contextmanager
def publish_file(path: Path) -> Iterator[Path]:
    """Yield where to write a new file, which appears whole; one that exists already stays.

    Args:
        path: Place of the file; an empty file there is replaced.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    scratch = None
    try:
        with storage_errors(path):
            handle, scratch = _create_scratch(path)
            os.close(handle)
            yield scratch
            if path.exists() and path.stat().st_size == 0:
                scratch.replace(path)
                return
            try:
                os.link(scratch, path)  # unlike a rename, it replaces nothing
            except FileExistsError:
                return
            except OSError:  # a file system without hard links
                if not path.exists():
                    scratch.rename(path)
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically and return its path.

    Args:
        path: Of the file; its folder is created if it is missing.
        text: Written in UTF-8.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file atomically and return its path.

    Args:
        path: Of the file; its folder is created if it is missing.
        content: Of the file.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    scratch = None
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, scratch = _create_scratch(path)
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            scratch.rename(path)
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)
    return path


def _scratch_name(path: Path) -> Path:
    return path.parent / f".{path.name}-{secrets.token_hex(4)}"


def _create_scratch(path: Path) -> tuple[int, Path]:
    """Create a file beside `path`, whose mode follows the umask, unlike that of `tempfile`."""
    scratch = _scratch_name(path)
    return os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), scratch


def _failed_in_torch(error: Exception) -> bool:
    """Return whether `torch.save` could not write; its error does not say why."""
    return isinstance(error, RuntimeError) and any(name in str(error) for name in TORCH_WRITERS)


def _free_bytes(path: Path) -> int:
    folder = next((each for each in (path, *path.parents) if each.exists()), Path())
    return shutil.disk_usage(folder).free


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk or an unwritable place into ours; others pass unchanged.

    Args:
        path: What is written.

    Raises:
        StorageError: The disk is full or the place cannot be written.
        OutputError: A file stands where a folder is needed, or the reverse.
    """
    try:
        yield
    except Exception as error:
        code = getattr(error, "errno", None)
        # safetensors raises errors of its own, which only quote the system's message
        is_full = code in FULL or "No space left on device" in str(error)
        if is_full or (_failed_in_torch(error) and _free_bytes(path) < NEARLY_FULL):
            raise StorageError(
                f"The disk is full, so {path} was not written; free some space and run again."
            ) from error
        named = str(getattr(error, "filename", None) or path)
        ours = path.parent.is_relative_to(named) or named.startswith(str(path.parent))
        if code in FORBIDDEN and ours:
            raise StorageError(
                f"{path} cannot be written (permission); choose another place."
            ) from error
        if code in NO_PLACE and ours:
            raise OutputError(
                f"{path} cannot be written ({os.strerror(code)}: {named}); choose another place."
            ) from error
        raise
