"""Text sources: documents read one at a time from files, the Hugging Face hub, or this machine.

No corpus is held in memory; a long plain-text file is split at line ends.
"""

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from mixopt.config.text import FilesTextConfig, HubTextConfig, TextConfig, TokensTextConfig
from mixopt.data.document import Document, is_held_out
from mixopt.data.machine_text import read_machine_text
from mixopt.data.parquet_files import read_parquet
from mixopt.data.record_fields import TextReader, get_field, matches, unwrap_records
from mixopt.data.record_files import REFUSED, is_json_array, read_csv, read_json
from mixopt.data.remote_files import TextFile, is_remote, list_remote
from mixopt.errors import DataError, one_line, require_extra
from mixopt.io.content_hash import hash_content
from mixopt.io.parsing import load_json, show

BLOCK_CHARACTERS = 1 << 20
"""Characters above which a plain-text file becomes several documents of one group."""
PROBED_BYTES, PROBES, PROBE_BYTES = 1 << 24, 64, 1 << 12
"""Size above which a plain-text file is told by pieces of its content; their number and size."""
JSONL_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".ndjson")
CSV_ENDINGS = tuple(f".{kind}{packed}" for kind in ("csv", "tsv") for packed in ("", ".gz", ".zst"))


def read_documents(source: TextConfig) -> Iterator[Document]:
    """Yield the documents of a text on its side of the hold-out split.

    Args:
        source: Files, hub dataset or machine text; its `part` selects the side.

    Raises:
        DataError: A file is missing, empty or not UTF-8, or lacks the field; or all documents are on the
            other side of the split.
    """
    n_read = n_yielded = 0
    for document in _read_all(source):
        n_read += 1
        held_out = source.part == "heldout"
        if source.part == "all" or is_held_out(document.group, source) == held_out:
            n_yielded += 1
            yield document
    if not n_read and (conditions := getattr(source, "where", None)):
        raise DataError(f"No record of the text matches where: {show(conditions)}; fix its values.")
    if n_read and not n_yielded:
        where = source.paths[0] if isinstance(source, FilesTextConfig) else source.kind
        count = "its only document is" if n_read == 1 else f"all of its {n_read:,} documents are"
        other = "held-out" if source.part == "train" else "train"
        raise DataError(
            f"The text of {where} has nothing on its {source.part} side: {count} on the {other} side of "
            f"the split (heldout_share: {source.heldout_share:g}; a group is on one side); give more "
            "documents or groups, or part: all."
        )


def _read_all(source: TextConfig) -> Iterator[Document]:
    if isinstance(source, FilesTextConfig):
        for file in list_files(source):
            yield from read_file(file, source)
    elif isinstance(source, HubTextConfig):
        yield from _read_hub(source)
    elif isinstance(source, TokensTextConfig):
        from mixopt.data.token_text import TokenText  # which is above this module

        yield from TokenText(source.model_copy(update={"part": "all"}), None, seed=0).read()
    else:
        yield from read_machine_text(source.name, max_bytes=source.max_bytes, seed=source.seed)


def list_files(source: FilesTextConfig) -> list[TextFile]:
    """Find the files of a text.

    Args:
        source: Its globs, which may be URLs.

    Returns:
        Each file once; those of one glob are sorted.

    Raises:
        DataError: A glob matches nothing, or a file is empty.
    """
    files: list[TextFile] = []
    for pattern in source.paths:
        matched: Sequence[TextFile]
        if is_remote(pattern):
            matched = list_remote(pattern)
        else:
            paths = sorted(Path(name) for name in glob(pattern, recursive=True))
            matched = [file for file in paths if file.is_file()]
        if not matched:
            raise DataError(f"No file matches {pattern}; fix the expert's `text.paths`.")
        files += matched
    files = list(dict.fromkeys(files))
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
    ending = Path(name).suffix
    if ending in REFUSED:
        raise DataError(f"{file} is {REFUSED[ending]}.")
    if name.endswith(JSONL_ENDINGS):
        with open_bytes(file) as stream:
            head = b"".join(islice(_lines(stream, file), 2))
        return "json" if is_json_array(io.BytesIO(head)) else "jsonl"
    if name.endswith((".json", ".json.zst", ".ndjson.gz", ".ndjson.zst")):
        return "json"
    if name.endswith(CSV_ENDINGS):
        return "csv"
    return "parquet" if ending == ".parquet" else "plain"


def describe_format(file: TextFile) -> str:
    """Return the ending of a file for a hash, and its format where the ending alone does not tell it.

    Args:
        file: The file.
    """
    ending = "".join(file.suffixes[-2:])
    format = find_format(file)
    by_name = file.name.endswith(JSONL_ENDINGS) or file.suffix == ".parquet"
    if format == "plain" and file.stat().st_size > PROBED_BYTES:
        return f"{ending}:probed"  # its group is another one than that of a file hashed whole
    is_told = format == "plain" or (by_name and format in ("jsonl", "parquet"))
    return ending if is_told else f"{ending}:{format}"


def read_file(file: TextFile, source: FilesTextConfig) -> Iterator[Document]:
    """Yield the documents of one file, of both sides of the split.

    Args:
        file: The file.
        source: Names the fields.

    Raises:
        DataError: The file cannot be read.
    """
    format = find_format(file)
    if format == "plain":
        if source.where:
            raise DataError(f"{file} is plain text without fields; take `where` out.")
        yield from read_plain(file)
        return
    yield from to_documents(read_records(file, format, list_columns(source)), source)


def read_records(
    file: TextFile, format: str, columns: list[str] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the records of a file one at a time.

    Args:
        file: The file, possibly compressed (.gz, .zst).
        format: By `find_format`: `parquet`, `jsonl`, `json` or `csv`.
        columns: Columns of a Parquet file to read; all if None.

    Returns:
        Iterator of pairs: position of the record, for error messages, and its fields.

    Raises:
        DataError: The file is damaged, or is not of that format.
    """
    if format == "parquet":
        yield from read_parquet(file, columns)
    elif format == "jsonl":
        yield from read_jsonl(file)
    else:
        read = read_json if format == "json" else read_csv
        with open_bytes(file) as stream, tell_damage(file):
            yield from read(stream, file)


def list_columns(source: FilesTextConfig) -> list[str]:
    """List the columns that a text needs, each once.

    Args:
        source: Names them.
    """
    columns = [*_fields(source), *filter(None, [source.group]), *(source.where or {})]
    return list(dict.fromkeys(columns))


def to_documents(
    rows: Iterable[tuple[str, dict[str, Any]]], source: FilesTextConfig | HubTextConfig
) -> Iterator[Document]:
    """Yield the documents of those records that match the conditions of a text.

    Args:
        rows: Pairs: position of the record, for messages, and its fields.
        source: Names the fields.

    Raises:
        DataError: A record lacks the field, or it holds no text.
    """
    fields = _fields(source)
    reader = TextReader(fields)
    last: tuple[dict[str, Any], str] | None = None
    for where, row in unwrap_records(rows, fields):
        if source.where is None or matches(row, source.where):
            last = row, where
            text = reader.read(row, where)
            owner = None if source.group is None else str(get_field(row, source.group, where))
            # without a group the text is its own group, so that copies of it stay on one side
            yield Document(text, text if owner is None else owner)
    if last is not None:
        reader.finish(*last)


def _fields(source: FilesTextConfig | HubTextConfig) -> list[str]:
    return [source.field] if isinstance(source.field, str) else source.field


def read_jsonl(file: TextFile) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the rows of a JSONL file one at a time.

    Args:
        file: The file, possibly compressed (.gz, .zst).

    Returns:
        Iterator of pairs: position of the row, for error messages, and its fields.

    Raises:
        DataError: A line is not UTF-8 or no JSON object; the message names file and line.
    """
    with open_bytes(file) as stream:
        for number, line in enumerate(_lines(stream, file), start=1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            yield where, parse_line(line, where)


def parse_line(line: bytes, where: str) -> dict[str, Any]:
    """Parse a line of a JSONL file.

    Args:
        line: Its bytes.
        where: Its position, for messages.

    Raises:
        DataError: It is not UTF-8 or no JSON object.
    """
    try:
        row = load_json(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text; re-encode the file.") from None
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else one_line(error)
        raise DataError(f"{where} is not JSON ({reason}); fix or drop it.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object; each line needs its fields.")
    return row


def open_bytes(file: TextFile) -> BinaryIO | io.BufferedReader | gzip.GzipFile:
    """Open a file that may be compressed (.gz, .zst).

    Args:
        file: The file.

    Raises:
        DataError: It does not exist.
    """
    if not file.is_file():
        raise DataError(f"{file} does not exist; fix the path.")
    packing = file.suffix.lower()
    if packing == ".gz":
        if isinstance(file, Path):
            return gzip.GzipFile(file, "rb")
        return gzip.GzipFile(fileobj=file.open("rb"))
    if packing == ".zst":
        import zstandard

        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file.open("rb")))
    return file.open("rb")


def _lines(stream: Any, file: TextFile) -> Iterator[bytes]:
    with tell_damage(file):
        yield from stream


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
    try:
        if isinstance(file, Path):
            return hash_content(file)
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]
    except PermissionError:
        raise DataError(f"{file} may not be read; change its permissions.") from None


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
    with file.open("rb") as stream:
        for number in range(PROBES):
            stream.seek(number * (size - PROBE_BYTES) // (PROBES - 1))
            digest.update(stream.read(PROBE_BYTES))
    return digest.hexdigest()


def read_plain(file: TextFile) -> Iterator[Document]:
    """Yield the documents of a plain-text file, which are one group.

    Args:
        file: The file; a long one becomes several documents, cut at line ends.

    Raises:
        DataError: It is not UTF-8.
    """
    group = identify_file(file)
    try:
        with file.open(encoding="utf-8") as stream:
            while lines := stream.readlines(BLOCK_CHARACTERS):
                yield Document("".join(lines), group)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not UTF-8 text (near byte {error.start}); re-encode it, or name it "
            ".jsonl, .jsonl.gz, .jsonl.zst or .parquet if it is one of these."
        ) from None


def _read_hub(source: HubTextConfig) -> Iterator[Document]:
    each = each_row(open_dataset(source), source.path)
    yield from to_documents(
        ((f"{source.path}, row {number}", row) for number, row in enumerate(each, start=1)), source
    )


def open_dataset(source: HubTextConfig) -> Any:
    """Open a dataset: a saved one, or any other as a stream of rows.

    Args:
        source: Names it.

    Raises:
        DataError: It cannot be loaded.
    """
    require_extra("hub")
    import datasets

    saved = Path(source.path)
    if not saved.is_dir() and "/" not in source.path:
        raise DataError(
            f"Dataset {source.path!r} is no folder and no OWNER/NAME of the hub; fix its path."
        )
    try:
        if (saved / "state.json").is_file() or (saved / "dataset_dict.json").is_file():
            rows = datasets.load_from_disk(source.path)  # saved by Dataset.save_to_disk
            rows = rows[source.split] if isinstance(rows, datasets.DatasetDict) else rows
        else:
            options = {"split": source.split, "revision": source.revision, "streaming": True}
            rows = datasets.load_dataset(source.path, source.name, **options)
        return rows
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"Dataset {source.path!r} cannot be loaded ({one_line(error)}); fix its path, name or split."
        ) from None


def each_row(rows: Any, path: str) -> Iterator[Any]:
    """Yield the rows of a dataset.

    Args:
        rows: The dataset.
        path: Its name, for messages.

    Raises:
        DataError: It cannot be read.
    """
    try:
        yield from rows
    except DataError:
        raise
    except Exception as error:  # libraries of file formats raise errors of many types
        raise DataError(f"Dataset {path!r} cannot be read ({one_line(error)}); fix it.") from error
