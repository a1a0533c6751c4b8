"""Objects under a URL that fsspec opens, with as few requests as each operation needs.

A request to an object store takes 30 to 100 ms, so none is made only to look. Every error of a store's
library is raised as a `StorageError` of one sentence.
"""

import errno
import inspect
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path, PurePosixPath

import fsspec

from mixopt.errors import StorageError, UnreachableError, UserError, one_line
from mixopt.io.files import FULL

FLAT_PROTOCOLS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"})
"""Object stores: slashes are part of names, so no folder must be made before a file."""
MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""Raised where no object has a name."""
NOT_WRITABLE = (*MISSING, FileExistsError, PermissionError)
"""Errors that are not transient: a missing bucket, a file where a folder is needed, no permission."""
NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


class Storage:
    """Objects under a URL.

    Args:
        url: Any URL or path that fsspec opens: `s3://bucket/study`, `/nfs/study`.

    Raises:
        UserError: The URL cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._has_bucket = False
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise UserError(
                f"Storage {url!r} cannot be opened ({one_line(error)}); fix it."
            ) from None

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return at most the first `max_bytes` of an object; None if there is no such object."""
        path = self._path(name)
        with self._reading():
            try:
                # given a range, s3fs does not ask for the size first
                return bytes(self._files.cat_file(path, start=0, end=max_bytes))
            except MISSING:
                return None
            except Exception:
                if self._is_empty(path):  # S3 has no range of an empty object
                    return b""
                raise

    def write(self, name: str, content: bytes) -> None:
        """Write an object atomically; an older one is replaced."""
        with self._writing():
            self._make_folders([name])
            if self._is_disk:
                with self._scratch_file(name, content) as scratch:
                    scratch.rename(self._path(name))
            else:
                self._files.pipe_file(self._path(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object if there is none, in one request.

        Returns:
            Whether it was written. False also if the store has no conditional write; then the caller
            has to look and write.
        """
        with self._writing():
            self._make_folders([name])
            if self._is_disk:
                with self._scratch_file(name, content) as scratch:
                    return _link(scratch, Path(self._path(name)))
            if not self._has_conditional_write:
                return False
            try:
                self._files.pipe_file(self._path(name), content, mode="create")
            except Exception as error:  # stores raise many classes where an object exists
                is_lasting = isinstance(error, PermissionError) or _is_disk_full(error)
                if is_lasting or isinstance(error, MISSING):
                    raise
                return False
            return True

    def send(self, folder: Path, names: Iterable[str], name: str) -> None:
        """Upload the files `names` of a local folder as objects under `name`."""
        targets = {inner: f"{name}/{inner}" for inner in names}
        with self._writing():
            self._make_folders(targets.values())
            for inner, target in targets.items():
                self._files.put_file(str(folder / inner), self._path(target))

    def fetch(self, name: str, file: Path) -> bool:
        """Download an object to a local file; return whether there was one."""
        with self._reading():
            try:
                self._files.get_file(self._path(name), str(file))
            except MISSING:
                return False
            return True

    def remove(self, name: str, *, folder: bool = False) -> None:
        """Remove an object, or all objects under a name; it is no error if there is none."""
        with self._writing(), suppress(FileNotFoundError):
            if folder:
                self._files.rm(self._path(name), recursive=True)
            else:
                self._files.rm_file(self._path(name))

    def list_names(self, name: str) -> list[str]:
        """Return the next part of all names under `name`, as they are now."""
        path = self._path(name)
        with self._reading():
            try:
                self._files.invalidate_cache(path)  # s3fs and others cache listings
                return [PurePosixPath(found).name for found in self._files.ls(path, detail=False)]
            except MISSING:
                return []

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @cached_property
    def _protocols(self) -> frozenset[str]:
        protocols = self._files.protocol
        return frozenset([protocols] if isinstance(protocols, str) else protocols)

    @property
    def _is_disk(self) -> bool:
        return "file" in self._protocols

    @cached_property
    def _has_conditional_write(self) -> bool:
        write = getattr(self._files, "_pipe_file", self._files.pipe_file)
        return "mode" in inspect.signature(write).parameters

    def _make_folders(self, names: Iterable[str]) -> None:
        if not self._protocols & FLAT_PROTOCOLS:
            for folder in {str(PurePosixPath(self._path(name)).parent) for name in names}:
                self._files.makedirs(folder, exist_ok=True)
        elif not self._has_bucket:
            self._files.makedirs(self._root, exist_ok=True)
            self._has_bucket = True

    def _is_empty(self, path: str) -> bool:
        try:
            return bool(self._files.info(path)["size"] == 0)
        except Exception:  # the caller raises the error that it had before
            return False

    @contextmanager
    def _scratch_file(self, name: str, content: bytes) -> Iterator[Path]:
        scratch = Path(f"{self._path(name)}.{secrets.token_hex(4)}")
        try:
            scratch.write_bytes(content)
            yield scratch
        finally:
            scratch.unlink(missing_ok=True)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise self._unusable("read", error) from error
        except Exception as error:
            if _is_disk_full(error):  # the local disk of a download; the caller reports it
                raise
            raise self._unreachable(error) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if isinstance(error, NOT_WRITABLE) or _is_disk_full(error):
                raise self._unusable("written", error) from error
            raise self._unreachable(error) from error

    def _unusable(self, participle: str, error: Exception) -> StorageError:
        return StorageError(
            f"Storage {self.url} cannot be {participle} ({one_line(error)}); fix it and run again."
        )

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"Storage {self.url} does not answer ({one_line(error)}); run again when it does."
        )


def _link(scratch: Path, place: Path) -> bool:
    try:
        os.link(scratch, place)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        if place.exists():
            return False
        scratch.rename(place)
    return True


def _is_disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in FULL
