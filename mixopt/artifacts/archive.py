"""Packing: a study's folder as one file, and back; every byte is checked on the way in."""

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from mixopt import __version__
from mixopt.artifacts.artifact import hash_content
from mixopt.errors import OutputError
from mixopt.io.files import publish_folder, storage_errors
from mixopt.io.parsing import load_json, show, tell

INDEX = "pack.json"
"""First member of the archive: sizes and hashes of all the others."""
ENDINGS = {".tar": "", ".tar.gz": "gz", ".tar.zst": "zst"}
CHUNK = 1 << 20
LARGEST_INDEX = 256 << 20
LONGEST_NAME = 1024
"""Characters of a path inside an archive."""
DAMAGE = (
    tarfile.TarError, zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError, ValueError,
    KeyError, TypeError, AttributeError, RecursionError, MemoryError, OverflowError,
)  # fmt: skip
"""What reading an archive that is not whole may raise, in the libraries and here."""


def pack(folder: Path, archive: Path) -> int:
    """Writes a study's folder into `archive` (.tar, .tar.gz or .tar.zst); how many files it holds.

    What is being made, locks and scratch folders stay behind. The archive appears whole.

    Raises:
        OutputError: There is no such folder, nothing in it, or the archive's name has another ending.
        StorageError: The disk is full or the place cannot be written.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder} does not exist; give the folder of a study's results.")
    ending = _ending(archive)
    scratch = archive.with_name(f".{archive.name}.part")
    with storage_errors(archive):
        files = [
            file
            for file in sorted(folder.rglob("*"))
            if file.is_file()
            and not file.is_symlink()
            and not _is_scratch(file.relative_to(folder))
            and file.resolve() != archive.resolve()
        ]
        if not files:
            raise OutputError(f"{folder} holds no files; there is nothing to pack.")
        archive.parent.mkdir(parents=True, exist_ok=True)
        try:
            index = {
                str(file.relative_to(folder)): (file.stat().st_size, hash_content(file))
                for file in files
            }
            told = json.dumps({"mixopt": __version__, "files": index}, indent=1).encode()
            with _write(scratch, ending) as tar:
                _add(tar, INDEX, io.BytesIO(told), len(told))
                for name, (size, digest) in index.items():
                    with (folder / name).open("rb") as stream:
                        if _add(tar, name, stream, size) != digest:
                            raise OutputError(
                                f"{folder / name} is being written; stop the run that writes it and "
                                "pack again."
                            )
            scratch.rename(archive)
        except FileNotFoundError as error:
            raise OutputError(
                f"{error.filename} has gone while it was packed; stop the run that writes {folder} "
                "and pack again."
            ) from None
        finally:
            scratch.unlink(missing_ok=True)
    return len(index)


def unpack(archive: Path, folder: Path) -> int:
    """Puts a packed study into `folder`, which appears whole; how many files it holds.

    Raises:
        OutputError: The archive is damaged or none of ours, or `folder` holds something already.
        StorageError: The disk is full or the place cannot be written.
    """
    if not archive.is_file():
        raise OutputError(f"{archive} does not exist; give what `mixopt pack` wrote.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} holds something already; give a folder that does not exist.")
    with publish_folder(folder) as scratch:
        try:
            return _extract(archive, scratch)
        except DAMAGE as error:
            raise OutputError(
                f"{archive} is damaged or was not written by `mixopt pack` ({tell(error)}); pack it "
                "again."
            ) from None


def _extract(archive: Path, scratch: Path) -> int:
    with _read(archive) as tar:
        first = tar.next()
        if first is None or first.name != INDEX:
            raise ValueError("it does not begin with its index")
        if first.size > LARGEST_INDEX:
            raise ValueError("its index is larger than any of ours")
        stream = tar.extractfile(first)
        assert stream is not None
        index = load_json(stream.read())["files"]
        left = dict(index)
        while (member := tar.next()) is not None:
            size, told = left.pop(member.name)  # what the index does not name is not ours
            if not member.isfile() or member.size != size:
                raise ValueError(f"{member.name} is not the file that was packed")
            place = scratch / member.name
            if len(member.name) > LONGEST_NAME:
                raise ValueError(f"{show(member.name)} is no name of ours")
            if not place.resolve().is_relative_to(scratch.resolve()):
                raise ValueError(f"{member.name} would leave the folder")
            place.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None
            with place.open("wb") as out:
                shutil.copyfileobj(content, out, CHUNK)
            if hash_content(place) != told:
                raise ValueError(f"the content of {member.name} has changed")
        if left:
            raise ValueError(f"{next(iter(left))} is missing")
    return len(index)


def _is_scratch(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _ending(archive: Path) -> str:
    for ending, kind in ENDINGS.items():
        if archive.name.endswith(ending):
            return kind
    raise OutputError(f"{archive}: an archive is called .tar, .tar.gz or .tar.zst; rename it.")


@contextmanager
def _write(path: Path, kind: str) -> Iterator[tarfile.TarFile]:
    with (
        path.open("wb") as raw,
        _squeeze(raw, kind) as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        yield tar


@contextmanager
def _squeeze(raw: IO[bytes], kind: str) -> Iterator[IO[Any]]:
    """`raw`, or what compresses into it; without names and times, so that it is the same each time."""
    if kind == "gz":
        with gzip.GzipFile(fileobj=raw, filename="", mode="wb", mtime=0) as stream:
            yield cast(IO[Any], stream)
    elif kind == "zst":
        with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as squeezed:
            yield cast(IO[Any], squeezed)
    else:
        yield raw


@contextmanager
def _read(path: Path) -> Iterator[tarfile.TarFile]:
    if _ending(path) != "zst":
        with tarfile.open(path, "r:*") as tar:
            yield tar
        return
    with (
        path.open("rb") as raw,
        zstandard.ZstdDecompressor().stream_reader(raw) as stream,
        tarfile.open(fileobj=cast(IO[Any], stream), mode="r|") as tar,
    ):
        yield tar


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._digest = stream, hashlib.blake2b()

    def read(self, size: int = -1) -> bytes:
        """So many bytes."""
        content = self._stream.read(size)
        self._digest.update(content)
        return content

    @property
    def told(self) -> str:
        """As `hash_content`; of more than was read where more is there."""
        self._digest.update(self._stream.read(1))
        return self._digest.hexdigest()[:32]


def _add(tar: tarfile.TarFile, name: str, stream: IO[bytes], size: int) -> str:
    """Adds a file without owner and time; the hash of what was read, or of nothing where it is short."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    hashing = _Hashing(stream)
    try:
        tar.addfile(member, cast(IO[bytes], hashing))
    except OSError as error:
        if "unexpected end of data" in str(error):
            return ""
        raise
    return hashing.told
