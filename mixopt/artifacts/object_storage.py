"""Storage: objects under a URL, asked for with as few requests as each needs.

A request to an object store takes 30 to 100 ms, so none is made only to look. Whatever a store's own
library raises is told in one sentence.
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

from mixopt.errors import StorageError, UnreachableError, UserError
from mixopt.io.files import FULL

FLAT = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"})
"""Stores that have names with slashes and no folders, so that none is made before a file."""
NOTHING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""What is raised where no object lies under a name."""
UNWRITABLE = (*NOTHING, FileExistsError, PermissionError)
"""What no other try mends: a bucket that is not there, a folder in the way, no right to write."""


class Storage:
    """Objects under a URL.

    Args:
        url: Anything that fsspec opens: `s3://bucket/study`, `/nfs/study`.

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
                f"Storage {url!r} cannot be opened ({_tell(error)}); mend it."
            ) from None

    def read(self, name: str, most: int) -> bytes | None:
        """What an object holds, but no more than `most` bytes of it; None where none is."""
        path = self._path(name)
        with self._reading():
            try:
                # with a range s3fs does not ask for the size first
                return bytes(self._files.cat_file(path, start=0, end=most))
            except NOTHING:
                return None
            except Exception:  # of the store's own library; raised on, but for one case
                if self._is_empty(path):  # an object store has no range of it
                    return b""
                raise

    def write(self, name: str, content: bytes) -> None:
        """Makes an object that appears whole, in the place of any before."""
        with self._writing():
            self._make_folders([name])
            if not self._is_disk:  # an object appears when it is written to its end
                self._files.pipe_file(self._path(name), content)
                return
            with self._beside(name, content) as beside:
                beside.rename(self._path(name))

    def create(self, name: str, content: bytes) -> bool:
        """Makes an object where none is, in one request; whether it did.

        Not either where the store cannot be asked in this way: who is told so looks, and writes.
        """
        with self._writing():
            self._make_folders([name])
            if self._is_disk:
                with self._beside(name, content) as beside:
                    return _link(beside, Path(self._path(name)))
            if not self._can_create:
                return False
            try:
                self._files.pipe_file(self._path(name), content, mode="create")
            except Exception as error:  # stores have many words for something that is there
                lasting = isinstance(error, PermissionError) or _number(error) in FULL
                if lasting or isinstance(error, NOTHING):
                    raise
                return False
            return True

    def send(self, folder: Path, names: Iterable[str], name: str) -> None:
        """Copies the files `names` of a folder here to objects under `name`."""
        targets = {inner: f"{name}/{inner}" for inner in names}
        with self._writing():
            self._make_folders(targets.values())
            for inner, target in targets.items():
                self._files.put_file(str(folder / inner), self._path(target))

    def fetch(self, name: str, file: Path) -> bool:
        """Copies an object to a file here; whether there was one."""
        with self._reading():
            try:
                self._files.get_file(self._path(name), str(file))
            except NOTHING:
                return False
            return True

    def remove(self, name: str, *, folder: bool = False) -> None:
        """Removes an object, or all under a name; another may have been faster."""
        with self._writing(), suppress(FileNotFoundError):
            if folder:
                self._files.rm(self._path(name), recursive=True)
            else:
                self._files.rm_file(self._path(name))

    def list_names(self, name: str) -> list[str]:
        """The next part of all names that lie under one, as they are now."""
        path = self._path(name)
        with self._reading():
            try:
                self._files.invalidate_cache(path)  # object stores' libraries keep what they listed
                return [PurePosixPath(found).name for found in self._files.ls(path, detail=False)]
            except NOTHING:
                return []

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @cached_property
    def _protocols(self) -> frozenset[str]:
        told = self._files.protocol
        return frozenset([told] if isinstance(told, str) else told)

    @property
    def _is_disk(self) -> bool:
        return "file" in self._protocols

    @cached_property
    def _can_create(self) -> bool:
        """Whether the store's library takes `mode`, which older ones do not."""
        write = getattr(self._files, "_pipe_file", self._files.pipe_file)
        return "mode" in inspect.signature(write).parameters

    def _make_folders(self, names: Iterable[str]) -> None:
        if not self._protocols & FLAT:
            for folder in {str(PurePosixPath(self._path(name)).parent) for name in names}:
                self._files.makedirs(folder, exist_ok=True)
        elif not self._has_bucket:
            self._files.makedirs(self._root, exist_ok=True)
            self._has_bucket = True

    def _is_empty(self, path: str) -> bool:
        try:
            return bool(self._files.info(path)["size"] == 0)
        except Exception:  # then what was raised before is what matters
            return False

    @contextmanager
    def _beside(self, name: str, content: bytes) -> Iterator[Path]:
        """A file with `content` beside its place; what is left of it vanishes."""
        beside = Path(f"{self._path(name)}.{secrets.token_hex(4)}")
        try:
            beside.write_bytes(content)
            yield beside
        finally:
            beside.unlink(missing_ok=True)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise self._wrong("read", error) from error
        except Exception as error:
            if _number(error) in FULL:  # this machine's disk, of which others tell
                raise
            raise self._away(error) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if isinstance(error, UNWRITABLE) or _number(error) in FULL:
                raise self._wrong("written", error) from error
            raise self._away(error) from error

    def _wrong(self, done: str, error: Exception) -> StorageError:
        return StorageError(
            f"Storage {self.url} cannot be {done} ({_tell(error)}); mend it and run again."
        )

    def _away(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"Storage {self.url} does not answer ({_tell(error)}); run again when it does."
        )


def _link(beside: Path, place: Path) -> bool:
    """Gives a whole file its name, unless another has it."""
    try:
        os.link(beside, place)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if place.exists():  # a disk without second names
            return False
        beside.rename(place)
    return True


def _number(error: Exception) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _tell(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
