"""Records (JSON objects, CSV rows) read one at a time from files whose content tells the layout."""

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mixopt.data.remote_files import TextFile
from mixopt.errors import DataError, one_line
from mixopt.io.parsing import load_json

CHARACTERS = 1 << 20
"""Characters of a JSON file that are read at a time."""
OPEN_TEXT = "Unterminated string"
"""Beginning of the json library's message of a text without its end."""
LONGEST_WORD = 16
"""Characters that are at least as many as the longest word that is no text: `-Infinity`, an escape."""
DELIMITERS = ",\t;|"
"""Marks between the cells of a CSV file."""
QUOTED = re.compile(r'"[^"]*"')
REFUSED = {
    ".arrow": "an Arrow file; name its folder with `kind: huggingface`, or convert it to Parquet",
    ".feather": "an Arrow file; convert it to Parquet",
    ".orc": "an ORC file; convert it to Parquet",
    ".avro": "an Avro file; convert it to Parquet",
    ".xlsx": "an Excel workbook; save it as CSV",
    ".pkl": "a pickle, which can run code; convert it to JSONL",
    ".pt": "a file of PyTorch; write its text as JSONL",
    ".npy": "an array of numpy; give the text, not tokens",
    ".bin": "binary data; give the text, not tokens",
    ".idx": "an index of tokens; give the text, not tokens",
    ".tar": "an archive; unpack it",
    ".tgz": "an archive; unpack it",
    ".zip": "an archive; unpack it",
    ".7z": "an archive; unpack it",
    ".rar": "an archive; unpack it",
    ".warc": "a web archive; extract the text of its pages as JSONL",
    ".lz4": "compressed by LZ4; unpack it, or compress it by gzip or zstd",
    ".snappy": "compressed by Snappy; unpack it, or compress it by gzip or zstd",
    ".h5": "an HDF5 file; convert it to JSONL or Parquet",
    ".hdf5": "an HDF5 file; convert it to JSONL or Parquet",
    ".db": "a database; write its text as JSONL",
    ".sqlite": "a database; write its text as JSONL",
    ".npz": "arrays of numpy; write the text as JSONL",
    ".safetensors": "a file of tensors; give the text",
    ".xls": "an Excel workbook; save it as CSV",
    ".ods": "a workbook; save it as CSV",
    ".pickle": "a pickle, which can run code; convert it to JSONL",
    ".epub": "an e-book; extract its text",
    ".doc": "a Word document; save it as text",
    ".bz2": "compressed by bzip2; unpack it, or compress it by gzip or zstd",
    ".xz": "compressed by xz; unpack it, or compress it by gzip or zstd",
    ".pdf": "a PDF; extract its text",
    ".docx": "a Word document; save it as text",
}
"""What a file with an ending of another format is, and what to do."""


@dataclass
class Place:
    """Where a reader is in a file.

    Attributes:
        n_bytes: Bytes of the content up to the end of the last record, without those read ahead.
    """

    n_bytes: int = 0


def is_json_array(stream: Any) -> bool:
    """Return whether a stream of bytes begins like a JSON array of objects.

    Args:
        stream: Positioned at its beginning.
    """
    head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return bool(head[:1] == b"[" and head[1:].lstrip()[:1] in (b"{", b""))


def read_json(
    stream: Any, file: TextFile, *, characters: int = CHARACTERS, place: Place | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of a JSON file: an array of them, or one after the other (JSON lines).

    Args:
        stream: Its bytes.
        file: Its path, for messages.
        characters: Characters that are read at a time.
        place: Is moved with each record.

    Returns:
        Iterator of pairs: position of the record, for messages, and its fields.

    Raises:
        DataError: The content is not UTF-8, is no JSON, or has a value that is no object.
    """
    with io.TextIOWrapper(stream, encoding="utf-8-sig") as text:
        yield from _read_records(_JsonReader(text, file, characters), file, place or Place())


def _read_records(
    reader: "_JsonReader", file: TextFile, place: Place
) -> Iterator[tuple[str, dict[str, Any]]]:
    is_array = reader.peek() == "["
    if is_array:
        reader.take()
    number = 0
    while (mark := reader.peek()) and not (is_array and mark == "]"):
        if is_array and number:
            if mark != ",":
                raise DataError(f"{file}, after record {number}: no comma between records; add it.")
            reader.take()
        number += 1
        where = f"{file}, record {number}"
        row = reader.read_object(where)
        place.n_bytes = reader.n_bytes
        yield where, row
    if is_array:
        if reader.take() != "]":
            raise DataError(f"{file} ends within its JSON array; fetch it again.")
        if reader.peek():
            raise DataError(f"{file} goes on after its JSON array; keep one array in a file.")


class _JsonReader:
    """Position in a JSON text of which a few records are in memory."""

    def __init__(self, text: io.TextIOWrapper, file: TextFile, characters: int) -> None:
        self._text, self._file, self._characters = text, file, characters
        self._buffer, self._at = "", 0
        self._counted, self.n_bytes = 0, 0
        self._decoder = json.JSONDecoder(parse_int=str)  # finds ends; `load_json` parses

    def _fill(self, size: int) -> bool:
        try:
            more = self._text.read(size)
        except UnicodeDecodeError:
            raise DataError(f"{self._file} is not UTF-8 text; re-encode the file.") from None
        self._count()
        self._buffer, self._at, self._counted = self._buffer[self._at :] + more, 0, 0
        return bool(more)

    def _count(self) -> None:
        """Add to `n_bytes` what was taken of the buffer."""
        taken = self._buffer[self._counted : self._at]
        self.n_bytes += len(taken.encode(errors="surrogatepass"))
        self._counted = self._at

    def peek(self) -> str:
        """Return the next character that is no space, or nothing at the end."""
        while True:
            while self._at < len(self._buffer):
                if not self._buffer[self._at].isspace():
                    return self._buffer[self._at]
                self._at += 1
            if not self._fill(self._characters):
                return ""

    def take(self) -> str:
        """Return `peek()` and go on after it."""
        mark = self.peek()
        self._at += len(mark)
        return mark

    def read_object(self, where: str) -> dict[str, Any]:
        """Return the next value, which must be an object."""
        if self.peek() != "{":
            raise DataError(f"{where} is not a JSON object; each record needs its fields.")
        while True:
            try:
                end = self._find_end()
                if end is None:
                    continue
                row = load_json(self._buffer[self._at : end])
            except (ValueError, RecursionError) as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else one_line(error)
                if isinstance(error, RecursionError):
                    reason = "it is nested too deeply"
                raise DataError(f"{where} is not JSON ({reason}); fix or drop it.") from None
            self._at = end
            self._count()
            assert isinstance(row, dict)  # it begins with a brace
            return row

    def _find_end(self) -> int | None:
        """Return the end of the value in the buffer; None if it goes on after it, and more was read."""
        try:
            return self._decoder.raw_decode(self._buffer, self._at)[1]
        except json.JSONDecodeError as error:
            # an error far from the end of the buffer stays one, however much is read
            is_cut = (
                error.msg.startswith(OPEN_TEXT) or error.pos >= len(self._buffer) - LONGEST_WORD
            )
            # a growing size keeps the time linear for a long record
            if is_cut and self._fill(max(self._characters, len(self._buffer) - self._at)):
                return None
            raise


def read_csv(
    stream: Any, file: TextFile, *, place: Place | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the rows of a CSV file with a header; its cells are parted by comma, tab or semicolon.

    Args:
        stream: Its bytes.
        file: Its path, for messages.
        place: Is moved with each row.

    Returns:
        Iterator of pairs: position of the row, for messages, and its cells by column.

    Raises:
        DataError: The content is not UTF-8, a row has too many or too few cells, or a quote is open.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a document is longer than 128 KiB
    try:
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            yield from _read_rows(text, file, place or Place())
    except UnicodeDecodeError:
        raise DataError(f"{file} is not UTF-8 text; re-encode the file.") from None
    except csv.Error as error:
        raise DataError(f"{file} is not a CSV file ({one_line(error)}); fix it.") from None


def _read_rows(
    text: io.TextIOWrapper, file: TextFile, place: Place
) -> Iterator[tuple[str, dict[str, Any]]]:
    header = text.readline()
    mark = _find_delimiter(header, file)
    if header.lower().startswith("sep=") and len(header.strip()) == len("sep=,"):  # of Excel
        mark, header = header[len("sep=")], text.readline()
    names = [name.strip() for name in next(csv.reader([header], delimiter=mark), [])]
    number, place.n_bytes = 0, len(header.encode())
    for cells in csv.reader(_count_lines(text, place), delimiter=mark, strict=True):
        if not cells:
            continue
        number += 1
        where = f"{file}, row {number}"
        if len(cells) != len(names):
            raise DataError(
                f"{where} has {len(cells)} cells, and the header {len(names)}; fix the row (a text with "
                "commas or line ends needs quotes)."
            )
        yield where, dict(zip(names, cells, strict=True))


def _find_delimiter(header: str, file: TextFile) -> str:
    """Return the mark between cells: the most frequent one of the header, outside of quotes."""
    bare = QUOTED.sub("", header)
    is_tsv = ".tsv" in map(str.lower, file.suffixes[-2:])
    if is_tsv and ("\t" in bare or not any(mark in bare for mark in DELIMITERS)):
        return "\t"
    return max(DELIMITERS, key=bare.count)


def _count_lines(text: io.TextIOWrapper, place: Place) -> Iterator[str]:
    for line in text:
        place.n_bytes += len(line.encode())
        yield line
