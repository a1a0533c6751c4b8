"""Files of a text: found by globs and URLs, told by name and content, opened, and hashed."""

import gzip
import hashlib
import io
import logging
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from mixopt.config.text import FilesTextConfig
from mixopt.data.record_files import REFUSED, is_json_array
from mixopt.data.remote_files import TextFile, is_remote, list_remote
from mixopt.errors import DataError
from mixopt.io.content_hash import hash_content
from mixopt.io.globs import drop_repeats, expand_glob
from mixopt.io.parsing import load_json
from mixopt.io.unpacked_stream import UnpackedStream

PROBED_BYTES, PROBES, PROBE_BYTES = 1 << 24, 64, 1 << 12
"""Size above which a plain-text file is told by pieces of its content; their number and size."""
log = logging.getLogger(__name__)

STATED_PLAIN = (".txt", ".text", ".md")
"""Endings that say plain text, whatever it looks like."""
HEAD_BYTES, LONGEST_LINE = 1 << 12, 1 << 22
"""Bytes of a file of no known name that tell its format, and of its first line."""
UNPACKED_AT_ONCE = 1 << 16
"""Compressed bytes that are unpacked at a time."""
MAGIC = {
    b"\x1f\x8b": "compressed by gzip; add .gz to its name, or unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; add .zst to its name, or unpack it",
    b"PAR1": "a Parquet file; name it .parquet",
    b"ARROW1": REFUSED[".feather"],
    b"PK\x03\x04": REFUSED[".zip"],
    b"BZh": REFUSED[".bz2"],
    b"\xfd7zXZ": REFUSED[".xz"],
    b"%PDF": REFUSED[".pdf"],
    b"SQLite format 3\0": REFUSED[".db"],
    b"WARC/": REFUSED[".warc"],
}
"""First bytes of formats that are not read under other names, and what to do."""
TAR_MARKS, TAR_PLACE = (b"ustar\0", b"ustar "), 257
"""Marks of a tar, of POSIX and of GNU, and their place in its header, which is padded with zeros."""
JSONL_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".ndjson")
CSV_ENDINGS = tuple(f".{kind}{packed}" for kind in ("csv", "tsv") for packed in ("", ".gz", ".zst"))


def list_files(source: FilesTextConfig) -> list[TextFile]:
    """Find the files of a text.

    Args:
        source: Its globs, which may be URLs.

    Returns:
        Each file once, also where links name it again; those of one glob are sorted.

    Raises:
        DataError: A glob matches nothing, or a file is empty.
    """
    files: list[TextFile] = []
    for pattern in source.paths:
        matched: Sequence[TextFile]
        if is_remote(pattern):
            matched = list_remote(pattern)
        else:
            paths = [Path(name) for name in expand_glob(pattern)]
            matched = [file for file in paths if file.is_file()]
        if not matched:
            raise DataError(f"No file matches {pattern}; fix the expert's `text.paths`.")
        files += matched
    files = drop_repeats(files)
    for file in files:
        if not file.stat().st_size:
            raise DataError(f"{file} is empty; take it out of `text.paths` or fill it.")
    return files


def find_format(file: TextFile) -> str:
    """Tell how a file is read: `jsonl`, `json`, `csv`, `parquet` or `plain`.

    Args:
        file: The file. Its ending counts, in small or capital letters; JSON lines and arrays are told
            apart by content.

    Raises:
        DataError: The file has another format that is known.
    """
    name = file.name.lower()
    inner = Path(name.removesuffix(".gz").removesuffix(".zst"))
    for ending in (Path(name).suffix, inner.suffix):
        if ending in REFUSED:
            raise DataError(f"{file} is {REFUSED[ending]}.")
    if name.endswith(JSONL_ENDINGS):
        with open_bytes(file) as stream, tell_damage(file):
            head = b"".join(islice(stream, 2))
        _refuse_content(head, file)
        if is_json_array(io.BytesIO(head)) or (name.endswith(".json.gz") and not _is_line(head)):
            return "json"
        return "jsonl"
    if name.endswith((".json", ".json.zst", ".ndjson.gz", ".ndjson.zst")):
        return "json"
    if name.endswith(CSV_ENDINGS):
        return "csv"
    if inner.suffix == ".parquet":
        return "parquet"
    with open_bytes(file) as stream, tell_damage(file):
        head = stream.read(HEAD_BYTES)
        _refuse_content(head, file)
        if is_json_array(io.BytesIO(head)) and inner.suffix not in STATED_PLAIN:
            return "json"
        if head.removeprefix(BOM_UTF8).lstrip()[:1] == b"{":
            head += stream.readline(LONGEST_LINE)
    if not _has_json_lines(head):
        return "plain"
    if inner.suffix in STATED_PLAIN:
        _warn_of_json(file)
        return "plain"
    return "jsonl"


@cache
def _warn_of_json(file: TextFile) -> None:
    log.warning("%s holds lines of JSON and is read as plain text, as its name says; name it .jsonl to "
                "read its fields.", file)  # fmt: skip


def _refuse_content(head: bytes, file: TextFile) -> None:
    """Refuse binary formats under a name that does not tell them."""
    for mark, what in MAGIC.items():
        if head.startswith(mark):
            raise DataError(f"{file} is {what}.")
    if head[TAR_PLACE:].startswith(TAR_MARKS) and b"\0" in head[:TAR_PLACE]:
        raise DataError(f"{file} is {REFUSED['.tar']}.")


def _is_line(head: bytes) -> bool:
    """Return whether the first line of a file is a whole JSON object, not the beginning of one."""
    line = head.removeprefix(BOM_UTF8).lstrip().partition(b"\n")[0]
    try:
        return not line or isinstance(load_json(line), dict)
    except ValueError:
        return False


def _has_json_lines(head: bytes) -> bool:
    """Return whether the beginning of a file is lines of JSON objects, as in `part-00000`."""
    lines = [line for line in head.removeprefix(BOM_UTF8).splitlines() if line.strip()][:2]
    if not lines or not all(line.lstrip().startswith(b"{") for line in lines):
        return False
    try:
        return isinstance(load_json(lines[0]), dict)
    except ValueError:
        return False


def describe_format(file: TextFile) -> str:
    """Return the ending of a file for a hash, and its format where the ending alone does not tell it.

    Args:
        file: The file.
    """
    ending = "".join(file.suffixes[-2:])
    format = find_format(file)
    by_name = file.name.endswith(JSONL_ENDINGS) or file.suffix == ".parquet"
    if format == "plain" and has_order_mark(file):
        ending += ":mark"  # which was read as text once
    if format == "plain" and file.stat().st_size > PROBED_BYTES:
        return f"{ending}:probed"  # its group is another one than that of a file hashed whole
    is_told = format == "plain" or (by_name and format in ("jsonl", "parquet"))
    return ending if is_told else f"{ending}:{format}"


def open_bytes(file: TextFile) -> BinaryIO | io.BufferedReader | gzip.GzipFile:
    """Open a file that may be compressed (.gz, .zst).

    Args:
        file: The file.

    Raises:
        DataError: It does not exist, or may not be read.
    """
    with tell_forbidden(file):
        if not file.is_file():
            raise DataError(f"{file} does not exist; fix the path.")
        packing = file.suffix.lower()
        if packing == ".gz":
            if isinstance(file, Path):
                return gzip.GzipFile(file, "rb")
            return gzip.GzipFile(fileobj=file.open("rb"))
        if packing == ".zst":
            # the library's own stream ends in silence where the file does within its content
            return io.BufferedReader(UnpackedStream(file.open("rb"), ".zst", UNPACKED_AT_ONCE))
        return file.open("rb")


@contextmanager
def tell_forbidden(file: TextFile) -> Iterator[None]:
    """Raise a `DataError` where a file may not be read.

    Args:
        file: The file.
    """
    try:
        yield
    except PermissionError:
        raise DataError(f"{file} may not be read; change its permissions.") from None


def has_order_mark(file: TextFile) -> bool:
    """Return whether the content of a file begins with a byte order mark.

    Args:
        file: The file, possibly compressed.
    """
    with open_bytes(file) as stream, tell_damage(file):
        return stream.read(len(BOM_UTF8)) == BOM_UTF8


@contextmanager
def tell_damage(file: TextFile) -> Iterator[None]:
    """Raise a `DataError` where a compressed file turns out to be damaged.

    Args:
        file: The file.
    """
    import zstandard

    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(f"{file} is not a whole compressed file ({error}); replace it.") from None


def hash_file(file: TextFile) -> str:
    """Hash the content of a file.

    Args:
        file: The file.

    Returns:
        Hash of 128 bits, in hexadecimal.

    Raises:
        DataError: The file may not be read.
    """
    with tell_forbidden(file):
        if isinstance(file, Path):
            return hash_content(file)
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]


def identify_file(file: TextFile) -> str:
    """Return a hash that tells the content of a file, its group in the split of plain text.

    Not the path, so that moving the file does not change the split. Of a file above `PROBED_BYTES` the
    size and `PROBES` short pieces spread over it are hashed.

    Args:
        file: The file.
    """
    size = file.stat().st_size
    if size <= PROBED_BYTES:
        return hash_file(file)
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with tell_forbidden(file), file.open("rb") as stream:
        for number in range(PROBES):
            stream.seek(number * (size - PROBE_BYTES) // (PROBES - 1))
            digest.update(stream.read(PROBE_BYTES))
    return digest.hexdigest()
