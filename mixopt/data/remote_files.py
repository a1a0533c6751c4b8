"""Files at URLs that fsspec reads (`s3://`, `gs://`, `hf://`, `memory://`), used as local ones are."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, TypeAlias

from mixopt.errors import DataError, hide_credentials, one_line

BLOCK = 1 << 18
"""Bytes that are fetched at least: a part of a sample is smaller, a whole file is read in many."""
READ_AT_ONCE = 1 << 14
"""Bytes that are taken at a time of what is fetched."""
STAMPS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created", "sha256",
          "blob_id", "xet_hash")  # fmt: skip
"""Fields of a listing that change with a file, in the file systems that have them."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at a URL, with what is used of `Path`.

    Attributes:
        url: Its URL.
        size: Bytes.
        stamp: Changes with the file, where its file system tells.
    """

    url: str
    size: int
    stamp: int = field(compare=False)
    _system: Any = field(compare=False, repr=False)

    def __str__(self) -> str:
        return hide_credentials(self.url)

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return PurePosixPath(self.url).name

    @property
    def suffix(self) -> str:
        """The ending of the name."""
        return PurePosixPath(self.url).suffix

    @property
    def suffixes(self) -> list[str]:
        """The endings of the name."""
        return PurePosixPath(self.url).suffixes

    def is_file(self) -> bool:
        """Return True: it was listed as a file."""
        return True

    def stat(self) -> Any:
        """Return the size and what changes with the file, as `Path.stat` names them."""
        return SimpleNamespace(st_size=self.size, st_mtime_ns=self.stamp)

    def open(self, mode: str = "r", *, encoding: str | None = None) -> Any:
        """Open the file to read; only what is read is fetched, in blocks.

        Args:
            mode: `rb`, or text.
            encoding: Of text.

        Raises:
            DataError: It cannot be opened; reading raises it where the connection breaks.
        """
        with _reading(self.url):
            stream = self._system.open(self.url, "rb", block_size=BLOCK, cache_type="readahead")
        content = io.BufferedReader(_RemoteStream(stream, self.url), READ_AT_ONCE)
        return content if "b" in mode else io.TextIOWrapper(content, encoding=encoding)


class _RemoteStream(io.RawIOBase):
    """A stream of a file system, whose errors are told in one sentence."""

    def __init__(self, stream: Any, url: str) -> None:
        self._stream, self._url = stream, url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _reading(self._url):
            return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        with _reading(self._url):
            part = self._stream.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._stream.close()
        super().close()


TextFile: TypeAlias = Path | RemoteFile


def is_remote(pattern: str) -> bool:
    """Return whether a path or glob is a URL.

    Args:
        pattern: The path.
    """
    return "://" in pattern


def list_remote(pattern: str) -> list[RemoteFile]:
    """List the files that match a URL.

    Args:
        pattern: A URL, which may be a glob.

    Returns:
        The files, sorted; none where nothing matches.

    Raises:
        DataError: The URL cannot be listed.
    """
    import fsspec

    with _reading(pattern):
        system, path = fsspec.core.url_to_fs(pattern)
        if any(mark in path for mark in "*?["):
            found = system.glob(path, detail=True)
        else:
            found = {path: system.info(path)} if system.exists(path) else {}
    files = []
    for name, info in sorted(found.items()):
        if info.get("type", "file") == "file":
            told = repr([info[stamp] for stamp in STAMPS if stamp in info])
            digest = hashlib.blake2b(told.encode(), digest_size=7).digest()
            size, stamp = int(info.get("size") or 0), int.from_bytes(digest, "big")
            files.append(RemoteFile(system.unstrip_protocol(name), size, stamp, system))
    return files


@contextmanager
def _reading(url: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except ImportError as error:  # the file system is a package of its own
        raise DataError(f"{hide_credentials(url)} cannot be read: {one_line(error)}.") from None
    except Exception as error:  # file systems raise errors of many types
        raise DataError(
            f"{hide_credentials(url)} cannot be read ({type(error).__name__}: {one_line(error)}); check "
            "the URL, the credentials and the network."
        ) from None
