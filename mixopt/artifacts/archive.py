"""A study's folder as one archive file, and back; the hash of every file is checked on unpacking."""

import gzip
import hashlib
import io
import json
import logging
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import IO, Any, Self, cast

import zstandard

from mixopt import __version__
from mixopt.artifacts.artifact import JOBS_FOLDER, QUEUE_FOLDER
from mixopt.artifacts.bundle import is_safe_path
from mixopt.errors import OutputError, one_line
from mixopt.io.content_hash import hash_content
from mixopt.io.files import fill_folder, publish_folder, storage_errors
from mixopt.io.parsing import load_json, show

log = logging.getLogger(__name__)

INDEX = "pack.json"
"""First member of the archive: size and hash of each other member."""
COMPRESSIONS = {".tar": "", ".tar.gz": "gz", ".tar.zst": "zst"}
CHUNK = 1 << 20
MOST_NAMED = 3
"""Links named in a warning."""
MAX_INDEX_BYTES = 32 << 20
"""Index of some 200,000 files; a longer one takes minutes to read."""
MAX_HEADER_BYTES = 16 << 10
"""Extended header of a member: a long name, a large size."""
MAX_SIZE = 20 << 30
"""Bytes of all files that `unpack` writes unless more is allowed."""
FREE_SHARE = 0.95
"""Share of the free disk space that `unpack` may fill."""
DAMAGE_ERRORS = (
    tarfile.TarError, zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError, ValueError,
    KeyError, TypeError, AttributeError, RecursionError, MemoryError, OverflowError,
)  # fmt: skip
"""What the libraries and this module raise for a damaged archive."""


def pack(folder: Path, archive: Path) -> int:
    """Write a study's folder into an archive, atomically.

    Locks, scratch folders and what is being made, whose names begin with a dot, are left out, and so are
    records that wait for the user's MLflow and the folders of an executor's jobs. So are links, with a
    warning: they may lead to what is not the study's.

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
        found = [
            file
            for file in sorted(folder.rglob("*"))
            if not _stays_behind(file.relative_to(folder)) and file.resolve() != archive.resolve()
        ]
        _warn_of_links(folder, [str(f.relative_to(folder)) for f in found if f.is_symlink()])
        files = [file for file in found if file.is_file() and not file.is_symlink()]
        if not files:
            raise OutputError(f"{folder} holds no files; there is nothing to pack.")
        archive.parent.mkdir(parents=True, exist_ok=True)
        try:
            relative = {str(file.relative_to(folder)): file for file in files}
            index = {n: (f.stat().st_size, hash_content(f, read=True)) for n, f in relative.items()}
            index_text = json.dumps({"mixopt": __version__, "files": index}, indent=1).encode()
            _require_packable(folder, index, len(index_text))
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


def unpack(archive: Path, folder: Path, *, max_size: int = MAX_SIZE) -> int:
    """Extract an archive that `pack` wrote, whole or not at all.

    Args:
        archive: The archive, which need not be trusted.
        folder: New folder, or an empty one.
        max_size: Most bytes of all files.

    Returns:
        Number of files. Records for MLflow and jobs, which `pack` leaves out, are not extracted.

    Raises:
        OutputError: The archive is damaged or was not written by `pack`, it holds more than `max_size`
            bytes or than the disk has room for, or `folder` is not empty.
        StorageError: The disk is full or the place cannot be written.
    """
    if not archive.is_file():
        raise OutputError(f"{archive} does not exist; give what `mixopt pack` wrote.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} holds something already; give a folder that does not exist.")
    open_scratch = fill_folder if folder.exists() else publish_folder
    with open_scratch(folder) as scratch:
        try:
            return _extract(archive, scratch, max_size)
        except OutputError:
            raise
        except DAMAGE_ERRORS as error:
            raise OutputError(
                f"{archive} is damaged or was not written by `mixopt pack` ({one_line(error)}); pack it "
                "again."
            ) from None


def _extract(archive: Path, scratch: Path, max_size: int) -> int:
    with _open_to_read(archive) as tar:
        first = tar.next()
        if first is None or first.name != INDEX:
            raise ValueError("it does not begin with its index")
        if first.size > MAX_INDEX_BYTES or not first.isfile():
            raise ValueError("its index is larger than any of ours")
        stream = tar.extractfile(first)
        assert stream is not None
        index = _read_index(stream.read())
        total = sum(size for size, _ in index.values())
        _require_room(archive, scratch, total, max_size)
        missing, n_left_out = dict(index), 0
        while (member := tar.next()) is not None:
            size, digest = missing.pop(member.name)  # KeyError for one that is not in the index
            if not member.isfile() or member.issparse() or member.size != size:
                raise ValueError(f"{show(member.name)} is not the file that was packed")
            place = scratch / member.name
            if not place.resolve().is_relative_to(scratch.resolve()):
                raise ValueError(f"{show(member.name)} would leave the folder")
            if _stays_behind(PurePath(member.name)):
                log.warning("%s is left out: no archive of mixopt has it.", show(member.name))
                n_left_out += 1
                continue
            if not is_safe_path(member.name):
                raise ValueError(f"{show(member.name)} is no name of ours")
            place.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None
            with place.open("wb") as out:
                shutil.copyfileobj(content, out, CHUNK)
            if hash_content(place, read=True) != digest:
                raise ValueError(f"the content of {show(member.name)} has changed")
        if missing:
            raise ValueError(f"{show(next(iter(missing)))} is missing")
    return len(index) - n_left_out


def _warn_of_links(folder: Path, links: list[str]) -> None:
    if links:
        more = f" and {len(links) - MOST_NAMED} more" if len(links) > MOST_NAMED else ""
        named = ", ".join(map(show, links[:MOST_NAMED]))
        log.warning(
            "Links are left out of the archive of %s: %s%s; put there what they lead to and pack again, "
            "if it belongs to the study.", folder, named, more,
        )  # fmt: skip


def _require_packable(folder: Path, names: Iterable[str], n_index_bytes: int) -> None:
    """Check that `unpack` will accept the archive."""
    for name in names:
        if not is_safe_path(name):
            raise OutputError(
                f"{folder} has a file called {show(name)}, which no archive takes; rename it."
            )
    if n_index_bytes > MAX_INDEX_BYTES:
        raise OutputError(
            f"{folder} has more files than an archive takes; pack its parts one by one, or use tar."
        )


def _read_index(text: bytes) -> dict[str, tuple[int, str]]:
    files = load_json(text)["files"]
    index = {name: (size, digest) for name, (size, digest) in files.items()}
    if not all(type(size) is int and size >= 0 for size, _ in index.values()):
        raise ValueError("its index has a size that is none")
    return index


def _require_room(archive: Path, folder: Path, total: int, max_size: int) -> None:
    if total > max_size:
        raise OutputError(
            f"{archive} holds {total / 1e9:,.1f} GB and at most {max_size / 1e9:,.1f} GB are unpacked; "
            f"if you trust it, pass --max-size {-(-total // 10**9)}GB."
        )
    free = shutil.disk_usage(folder).free
    if total > FREE_SHARE * free:
        raise OutputError(
            f"{archive} holds {total / 1e9:,.1f} GB and the disk of {folder.parent} has "
            f"{free / 1e9:,.1f} GB free; choose another place."
        )


class _Member(tarfile.TarInfo):
    """A member of an archive, whose header is checked before what follows it is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Parse a header; `tarfile` then reads as many bytes of an extended one as it says."""
        member = super().frombuf(buf, encoding, errors)
        if member.type == tarfile.XHDTYPE:
            if not 0 <= member.size <= MAX_HEADER_BYTES:
                raise ValueError("an extended header is larger than any of ours")
        elif member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise ValueError(f"{show(member.name)} is not the file that was packed")
        return member


def _stays_behind(path: PurePath) -> bool:
    """Return whether a path inside a study's folder is unfinished, or for its user alone."""
    parts = [part.casefold() for part in path.parts]
    # of the study or of a phase; elsewhere it is a name that a user may choose
    own = parts[2:] if parts[:1] == ["phases"] else parts
    if own[:1] == [JOBS_FOLDER]:
        return True
    return any(part.startswith(".") or part == QUEUE_FOLDER for part in parts)


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
    compression = _compression(path)
    if compression != "zst":
        # no other compression that tarfile knows: some decompress with gigabytes of memory
        with tarfile.open(path, "r:gz" if compression else "r:", tarinfo=_Member) as tar:
            yield tar
        return
    with (
        path.open("rb") as raw,
        zstandard.ZstdDecompressor().stream_reader(raw) as stream,
        tarfile.open(fileobj=cast(IO[Any], stream), mode="r|", tarinfo=_Member) as tar,
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
        """Return the hash as `hash_content` does; another one if bytes are left to read."""
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
