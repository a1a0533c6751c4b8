"""A study's folder as one archive file, and back; the hash of every file is checked on unpacking."""

import gzip
import hashlib
import io
import json
import logging
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import IO, Any, cast

import zstandard

from mixopt import __version__
from mixopt.artifacts.artifact import QUEUE_FOLDER, hash_file_content
from mixopt.errors import OutputError, one_line
from mixopt.io.files import publish_folder, storage_errors
from mixopt.io.parsing import load_json, show

log = logging.getLogger(__name__)

INDEX = "pack.json"
"""First member of the archive: size and hash of each other member."""
COMPRESSIONS = {".tar": "", ".tar.gz": "gz", ".tar.zst": "zst"}
CHUNK = 1 << 20
MAX_INDEX_BYTES = 256 << 20
MAX_NAME_LENGTH = 1024
"""Characters of a path inside an archive."""
DAMAGE_ERRORS = (
    tarfile.TarError, zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError, ValueError,
    KeyError, TypeError, AttributeError, RecursionError, MemoryError, OverflowError,
)  # fmt: skip
"""What the libraries and this module raise for a damaged archive."""


def pack(folder: Path, archive: Path) -> int:
    """Write a study's folder into an archive, atomically.

    Locks, scratch folders and what is being made, whose names begin with a dot, are left out, and so are
    records that wait for the user's MLflow.

    Args:
        folder: Folder of the study's results.
        archive: New archive; its ending (.tar, .tar.gz or .tar.zst) chooses the compression.

    Returns:
        Number of files in it.

    Raises:
        OutputError: There is no such folder, nothing in it, or the archive's name has another ending.
        StorageError: The disk is full or the place cannot be written.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder} does not exist; give the folder of a study's results.")
    compression = _compression(archive)
    scratch = archive.with_name(f".{archive.name}.part")
    with storage_errors(archive):
        files = [
            file
            for file in sorted(folder.rglob("*"))
            if file.is_file()
            and not file.is_symlink()
            and not _stays_behind(file.relative_to(folder))
            and file.resolve() != archive.resolve()
        ]
        if not files:
            raise OutputError(f"{folder} holds no files; there is nothing to pack.")
        archive.parent.mkdir(parents=True, exist_ok=True)
        try:
            relative = {str(file.relative_to(folder)): file for file in files}
            index = {n: (f.stat().st_size, hash_file_content(f)) for n, f in relative.items()}
            index_text = json.dumps({"mixopt": __version__, "files": index}, indent=1).encode()
            with _open_to_write(scratch, compression) as tar:
                _add(tar, INDEX, io.BytesIO(index_text), len(index_text))
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
    """Extract an archive that `pack` wrote, atomically.

    Args:
        archive: The archive, which need not be trusted.
        folder: New folder, or an empty one.

    Returns:
        Number of files. Records for MLflow, which `pack` leaves out, are not extracted.

    Raises:
        OutputError: The archive is damaged or was not written by `pack`, or `folder` is not empty.
        StorageError: The disk is full or the place cannot be written.
    """
    if not archive.is_file():
        raise OutputError(f"{archive} does not exist; give what `mixopt pack` wrote.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} holds something already; give a folder that does not exist.")
    with publish_folder(folder) as scratch:
        try:
            return _extract(archive, scratch)
        except DAMAGE_ERRORS as error:
            raise OutputError(
                f"{archive} is damaged or was not written by `mixopt pack` ({one_line(error)}); pack it "
                "again."
            ) from None


def _extract(archive: Path, scratch: Path) -> int:
    with _open_to_read(archive) as tar:
        first = tar.next()
        if first is None or first.name != INDEX:
            raise ValueError("it does not begin with its index")
        if first.size > MAX_INDEX_BYTES:
            raise ValueError("its index is larger than any of ours")
        stream = tar.extractfile(first)
        assert stream is not None
        index = load_json(stream.read())["files"]
        missing, n_left_out = dict(index), 0
        while (member := tar.next()) is not None:
            size, digest = missing.pop(member.name)  # KeyError for one that is not in the index
            if not member.isfile() or member.size != size:
                raise ValueError(f"{member.name} is not the file that was packed")
            place = scratch / member.name
            if len(member.name) > MAX_NAME_LENGTH:
                raise ValueError(f"{show(member.name)} is no name of ours")
            if not place.resolve().is_relative_to(scratch.resolve()):
                raise ValueError(f"{member.name} would leave the folder")
            if _stays_behind(PurePath(member.name)):
                log.warning("%s is left out: no archive of mixopt has it.", show(member.name))
                n_left_out += 1
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None
            with place.open("wb") as out:
                shutil.copyfileobj(content, out, CHUNK)
            if hash_file_content(place) != digest:
                raise ValueError(f"the content of {member.name} has changed")
        if missing:
            raise ValueError(f"{next(iter(missing))} is missing")
    return len(index) - n_left_out


def _stays_behind(path: PurePath) -> bool:
    """Return whether a path inside a study's folder is unfinished, or for its user alone."""
    return any(part.startswith(".") or part.casefold() == QUEUE_FOLDER for part in path.parts)


def _compression(archive: Path) -> str:
    for ending, compression in COMPRESSIONS.items():
        if archive.name.endswith(ending):
            return compression
    raise OutputError(f"{archive}: an archive is called .tar, .tar.gz or .tar.zst; rename it.")


@contextmanager
def _open_to_write(path: Path, compression: str) -> Iterator[tarfile.TarFile]:
    """Compress without name and time: the same bytes each time."""
    with ExitStack() as stack:
        raw: IO[Any] = stack.enter_context(path.open("wb"))
        stream: Any = raw
        if compression == "gz":
            stream = gzip.GzipFile(fileobj=raw, filename="", mode="wb", mtime=0)
        elif compression == "zst":
            stream = zstandard.ZstdCompressor().stream_writer(raw, closefd=False)
        stack.enter_context(stream)
        yield stack.enter_context(tarfile.open(fileobj=stream, mode="w|"))


@contextmanager
def _open_to_read(path: Path) -> Iterator[tarfile.TarFile]:
    if _compression(path) != "zst":
        with tarfile.open(path, "r:*") as tar:
            yield tar
        return
    with (
        path.open("rb") as raw,
        zstandard.ZstdDecompressor().stream_reader(raw) as stream,
        tarfile.open(fileobj=cast(IO[Any], stream), mode="r|") as tar,
    ):
        yield tar


class _HashingReader:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._digest = stream, hashlib.blake2b()

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        content = self._stream.read(size)
        self._digest.update(content)
        return content

    def digest(self) -> str:
        """Return the hash as `hash_file_content` does; another one if bytes are left to read."""
        self._digest.update(self._stream.read(1))
        return self._digest.hexdigest()[:32]


def _add(tar: tarfile.TarFile, name: str, stream: IO[bytes], size: int) -> str:
    """Add a file without owner and time; return its hash, or an empty string if it became shorter."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    reader = _HashingReader(stream)
    try:
        tar.addfile(member, cast(IO[bytes], reader))
    except OSError as error:
        if "unexpected end of data" in str(error):
            return ""
        raise
    return reader.digest()
