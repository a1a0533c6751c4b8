"""Text sources: documents read one at a time from files, the Hugging Face hub, or this machine.

No corpus is held in memory; a long plain-text file is split at line ends.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from mixopt.config.text import FilesTextConfig, HubTextConfig, TextConfig
from mixopt.data.document import Document, is_held_out
from mixopt.data.machine_text import read_machine_text
from mixopt.data.record_fields import TextReader, get_field, matches, unwrap_records
from mixopt.data.record_files import REFUSED, is_json_array, read_csv, read_json
from mixopt.errors import DataError, did_you_mean, one_line, require_extra
from mixopt.io.content_hash import hash_content
from mixopt.io.parsing import load_json, show

BLOCK_CHARACTERS = 1 << 20
"""Characters above which a plain-text file becomes several documents of one group."""
PARQUET_ROWS = 1024
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
            yield from _read_file(file, source)
    elif isinstance(source, HubTextConfig):
        yield from _read_hub(source)
    else:
        yield from read_machine_text(source.name, max_bytes=source.max_bytes, seed=source.seed)


def list_files(source: FilesTextConfig) -> list[Path]:
    """Find the files of a text.

    Args:
        source: Its globs.

    Returns:
        Each file once; those of one glob are sorted.

    Raises:
        DataError: A glob matches nothing, or a file is empty.
    """
    files: list[Path] = []
    for pattern in source.paths:
        matched = sorted(Path(name) for name in glob(pattern, recursive=True))
        matched = [file for file in matched if file.is_file()]
        if not matched:
            raise DataError(f"No file matches {pattern}; fix the expert's `text.paths`.")
        files += [file for file in matched if file not in files]
    for file in files:
        if not file.stat().st_size:
            raise DataError(f"{file} is empty; take it out of `text.paths` or fill it.")
    return files


def find_format(file: Path) -> str:
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
        with _open_bytes(file) as stream:
            head = b"".join(islice(_lines(stream, file), 2))
        return "json" if is_json_array(io.BytesIO(head)) else "jsonl"
    if name.endswith((".json", ".json.zst", ".ndjson.gz", ".ndjson.zst")):
        return "json"
    if name.endswith(CSV_ENDINGS):
        return "csv"
    return "parquet" if ending == ".parquet" else "plain"


def describe_format(file: Path) -> str:
    """Return the ending of a file for a hash, and its format where the ending alone does not tell it.

    Args:
        file: The file.
    """
    ending = "".join(file.suffixes[-2:])
    format = find_format(file)
    by_name = file.name.endswith(JSONL_ENDINGS) or file.suffix == ".parquet"
    is_told = format == "plain" or (by_name and format in ("jsonl", "parquet"))
    return ending if is_told else f"{ending}:{format}"


def _read_file(file: Path, source: FilesTextConfig) -> Iterator[Document]:
    format = find_format(file)
    if format == "plain":
        if source.where:
            raise DataError(f"{file} is plain text without fields; take `where` out.")
        yield from _read_plain(file)
        return
    if format == "parquet":
        columns = [*_fields(source), *filter(None, [source.group]), *(source.where or {})]
        yield from _to_documents(read_parquet(file, list(dict.fromkeys(columns))), source)
    elif format == "jsonl":
        yield from _to_documents(read_jsonl(file), source)
    else:
        read = read_json if format == "json" else read_csv
        with _open_bytes(file) as stream, _tell_damage(file):
            yield from _to_documents(read(stream, file), source)


def _to_documents(
    rows: Iterable[tuple[str, dict[str, Any]]], source: FilesTextConfig | HubTextConfig
) -> Iterator[Document]:
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


def read_jsonl(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the rows of a JSONL file one at a time.

    Args:
        file: The file, possibly compressed (.gz, .zst).

    Returns:
        Iterator of pairs: position of the row, for error messages, and its fields.

    Raises:
        DataError: A line is not UTF-8 or no JSON object; the message names file and line.
    """
    with _open_bytes(file) as stream:
        for number, line in enumerate(_lines(stream, file), start=1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            try:
                row = load_json(line.decode("utf-8"))
            except UnicodeDecodeError:
                raise DataError(f"{where} is not UTF-8 text; re-encode the file.") from None
            except ValueError as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else one_line(error)
                raise DataError(f"{where} is not JSON ({reason}); fix or drop it.") from None
            if not isinstance(row, dict):
                raise DataError(f"{where} is not a JSON object; each line needs its fields.")
            yield where, row


def _open_bytes(file: Path) -> BinaryIO | io.BufferedReader | gzip.GzipFile:
    if not file.is_file():
        raise DataError(f"{file} does not exist; fix the path.")
    packing = file.suffix.lower()
    if packing == ".gz":
        return gzip.open(file, "rb")
    if packing == ".zst":
        import zstandard

        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file.open("rb")))
    return file.open("rb")


def _lines(stream: Any, file: Path) -> Iterator[bytes]:
    with _tell_damage(file):
        yield from stream


@contextmanager
def _tell_damage(file: Path) -> Iterator[None]:
    import zstandard

    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(f"{file} is not a whole compressed file ({error}); replace it.") from None


def read_parquet(file: Path, columns: list[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the rows of a Parquet file, a batch at a time.

    Args:
        file: The file.
        columns: Columns to read; all if None.

    Returns:
        Iterator of pairs: position of the row, for error messages, and its fields.

    Raises:
        DataError: The file does not exist, is no Parquet, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():
        raise DataError(f"{file} does not exist; fix the path.")
    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file} is not a Parquet file ({one_line(error)}); replace it.") from None
    for name in columns or []:
        known = [*table.schema_arrow.names, *(column.path for column in table.schema)]
        if not any(name == one or one.startswith(f"{name}.") for one in known):
            hint = did_you_mean(name, known)
            raise DataError(f"{file} has no column {name!r}. {hint}")
    number = 0
    batches = table.iter_batches(batch_size=PARQUET_ROWS, columns=columns)
    while True:
        try:
            batch = next(batches, None)
            rows = [] if batch is None else batch.to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"{file} is damaged after row {number} ({one_line(error)}); fetch it again."
            ) from None
        if batch is None:
            return
        for row in rows:
            number += 1
            yield f"{file}, row {number}", row


def hash_file(file: Path) -> str:
    """Hash the content of a file.

    Args:
        file: The file.

    Returns:
        Hash of 128 bits, in hexadecimal.

    Raises:
        DataError: The file may not be read.
    """
    try:
        return hash_content(file)
    except PermissionError:
        raise DataError(f"{file} may not be read; change its permissions.") from None


def _read_plain(file: Path) -> Iterator[Document]:
    group = hash_file(file)  # not its path, so that moving the file does not change the split
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
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"Dataset {source.path!r} cannot be loaded ({one_line(error)}); fix its path, name or split."
        ) from None
    each = _each(rows, source.path)
    yield from _to_documents(
        ((f"{source.path}, row {number}", row) for number, row in enumerate(each, start=1)), source
    )


def _each(rows: Any, path: str) -> Iterator[Any]:
    try:
        yield from rows
    except DataError:
        raise
    except Exception as error:  # libraries of file formats raise errors of many types
        raise DataError(f"Dataset {path!r} cannot be read ({one_line(error)}); fix it.") from error
