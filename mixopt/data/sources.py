"""Text sources: documents read one at a time from files, the Hugging Face hub, or this machine.

No corpus is held in memory; a long plain-text file is split at line ends.
"""

import io
import json
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from typing import Any

from mixopt.config.text import FilesTextConfig, HubTextConfig, TextConfig, TokensTextConfig
from mixopt.data.document import Document, is_held_out, tell_empty_side
from mixopt.data.hub_dataset import each_row, open_dataset
from mixopt.data.machine_text import read_machine_text
from mixopt.data.parquet_files import read_parquet
from mixopt.data.record_fields import TextReader, get_field, matches, unwrap_records
from mixopt.data.record_files import read_csv, read_json
from mixopt.data.remote_files import TextFile
from mixopt.data.text_files import (
    find_format,
    identify_file,
    list_files,
    open_bytes,
    tell_damage,
)
from mixopt.errors import DataError, one_line
from mixopt.io.parsing import load_json, show

BLOCK_CHARACTERS = 1 << 20
"""Characters above which a plain-text file becomes several documents of one group."""
BLANK = b" \t\r\n\v\f\0"
"""Bytes of a line without a record; zeros are the rest of a hole, as after a download that was cut."""


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
        raise tell_empty_side(f"The text of {where}", source, count)


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
        check_plain(file, source)
        yield from read_plain(file)
        return
    yield from to_documents(read_records(file, format, list_columns(source)), source)


def check_plain(file: TextFile, source: FilesTextConfig) -> None:
    """Check that a text asks for no fields of a plain-text file.

    Args:
        file: The file.
        source: The text.

    Raises:
        DataError: It does.
    """
    if source.where:
        raise DataError(f"{file} is plain text without fields; take `where` out.")
    if source.value_field:
        raise DataError(
            f"{file} is plain text without the field {source.value_field!r}; split it by length or "
            "perplexity."
        )


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
    others = filter(None, [source.group, source.value_field])
    columns = [*_fields(source), *others, *(source.where or {})]
    return list(dict.fromkeys(columns))


def open_reader(source: FilesTextConfig | HubTextConfig) -> TextReader:
    """Return what reads the fields of a text from its records.

    Args:
        source: Names the fields.
    """
    return TextReader(_fields(source))


def to_documents(
    rows: Iterable[tuple[str, dict[str, Any]]],
    source: FilesTextConfig | HubTextConfig,
    reader: TextReader | None = None,
) -> Iterator[Document]:
    """Yield the documents of those records that match the conditions of a text.

    Args:
        rows: Pairs: position of the record, for messages, and its fields.
        source: Names the fields.
        reader: Of records that come in several calls; the caller finishes it. The rows are all records
            of a file if None.

    Raises:
        DataError: A record lacks the field, or it holds no text.
    """
    used = open_reader(source) if reader is None else reader
    for where, row in unwrap_records(rows, _fields(source)):
        if source.where is None or matches(row, source.where):
            text = used.read(row, where)
            owner = None if source.group is None else get_field(row, source.group, where)
            # without a group the text is its own group, so that copies of it stay on one side
            name = source.value_field
            value = None if name is None else get_field(row, name, where)
            yield Document(text, text if owner in (None, "") else str(owner), value=value)
    if reader is None:
        used.finish()


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
    with open_bytes(file) as stream, tell_damage(file):
        for number, line in enumerate(stream, start=1):
            if not line.strip(BLANK):
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
        row = load_json(line.removeprefix(BOM_UTF8).strip(BLANK).decode("utf-8"))
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text; re-encode the file.") from None
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else one_line(error)
        raise DataError(f"{where} is not JSON ({reason}); fix or drop it.") from None
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object; each line needs its fields.")
    return row


def read_plain(file: TextFile) -> Iterator[Document]:
    """Yield the documents of a plain-text file, which are one group.

    Args:
        file: The file, possibly compressed (.gz, .zst); a long one becomes several documents, cut at
            line ends.

    Raises:
        DataError: It is not UTF-8, or a damaged compressed file.
    """
    group = identify_file(file)
    with open_bytes(file) as stream, tell_damage(file):
        yield from read_blocks(stream, file, group)


def read_blocks(stream: Any, file: TextFile, group: str) -> Iterator[Document]:
    """Yield the documents of a plain text.

    Args:
        stream: Its bytes.
        file: The file, for messages.
        group: Of all documents.

    Raises:
        DataError: It is not UTF-8.
    """
    with io.TextIOWrapper(stream, encoding="utf-8-sig") as text:
        try:
            while lines := text.readlines(BLOCK_CHARACTERS):
                yield Document("".join(lines), group)
        except UnicodeDecodeError as error:
            # the error counts from the beginning of the piece that was decoded last
            raise tell_encoding(file, stream.tell() - len(error.object) + error.start) from None


def tell_encoding(file: TextFile, place: int) -> DataError:
    """Return the error of a plain-text file that is not UTF-8.

    Args:
        file: The file.
        place: Byte of its content that is the first wrong one.
    """
    return DataError(
        f"{file} is not UTF-8 text (byte {place}); re-encode it, or name it .jsonl, .jsonl.gz, "
        ".jsonl.zst or .parquet if it is one of these."
    )


def _read_hub(source: HubTextConfig) -> Iterator[Document]:
    each = each_row(open_dataset(source), source.path)
    yield from to_documents(
        ((f"{source.path}, row {number}", row) for number, row in enumerate(each, start=1)), source
    )
