"""A sample of a text that is too large to be read whole: documents spread over all of its files.

Files are cut into parts of about the same size, which are read in an order of which every beginning is
spread evenly over the text (multiples of the golden ratio). JSON lines and plain text are cut at any
byte, Parquet into row groups; of files with few of them, rows all over each are read. What can only be
read from its beginning (compressed files, JSON arrays, CSV) is read a beginning of each file at a time,
in proportion to its size.
"""

import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mixopt.config.text import FilesTextConfig
from mixopt.data.availability import Availability, SampledPart, estimate_tokens
from mixopt.data.byte_ranges import find_extents, read_lines, read_text
from mixopt.data.document import Document, is_held_out, tell_empty_side
from mixopt.data.record_files import Place, is_json_array, read_csv, read_json
from mixopt.data.remote_files import RemoteFile, TextFile
from mixopt.data.row_groups import SEED_STEP, RowGroups
from mixopt.data.sample import PARTS, WHOLE_BYTES, Sample, spread_order
from mixopt.data.sources import (
    BLANK,
    check_plain,
    list_columns,
    parse_line,
    read_blocks,
    tell_encoding,
    to_documents,
)
from mixopt.data.text_files import (
    CSV_ENDINGS,
    JSONL_ENDINGS,
    find_format,
    has_order_mark,
    identify_file,
    list_files,
    tell_damage,
    tell_forbidden,
)
from mixopt.errors import DataError
from mixopt.io.unpacked_stream import UnpackedStream

PACKED = 4
"""Bytes of text in a byte of a compressed file or of Parquet, about."""
SMALLEST_PART, LARGEST_PART = 1 << 14, 1 << 22
WHOLE_PLAIN = 1 << 20
"""Largest plain-text file that is one part, as it is one document."""
READ_AHEAD = 1 << 13
"""Characters of a JSON file that are read at a time."""
PACKINGS = (".gz", ".zst")
RECORD_ENDINGS = (
    *JSONL_ENDINGS,
    *CSV_ENDINGS,
    ".json",
    ".json.zst",
    ".ndjson.gz",
    ".ndjson.zst",
    ".parquet",
)
"""Endings of files that are not plain text."""


@dataclass(frozen=True)
class _Extent:
    """A file, or a range of one, of one or more parts."""

    file: TextFile
    size: int
    start: int
    stop: int
    kind: str
    """`lines` and `plain` are cut into ranges of bytes; `beginning` is read from its beginning."""


@dataclass
class _Progress:
    """How many rows of each row group of a file were read; other files have one group."""

    rows: dict[int, int] = field(default_factory=dict)
    is_finished: bool = False


def find_sample(source: FilesTextConfig, tokens: int, seed: int) -> "TextSample | None":
    """Return the sample of a text that is larger than what a study can use; None of a smaller one.

    Args:
        source: The text.
        tokens: Tokens that the study can use.
        seed: Of the sample.

    Raises:
        DataError: A file is missing or empty.
    """
    files = list_files(source)
    sizes = [file.stat().st_size * _expansion(file) for file in files]
    return TextSample(source, files, tokens, seed) if sum(sizes) > WHOLE_BYTES * tokens else None


def _expansion(file: TextFile) -> int:
    return PACKED if file.suffix.lower() in (*PACKINGS, ".parquet") else 1


class TextSample(Sample):
    """Documents of large files.

    Args:
        source: The text.
        files: Its files.
        tokens: Tokens that are wanted.
        seed: Of the order.
    """

    def __init__(
        self, source: FilesTextConfig, files: list[TextFile], tokens: int, seed: int
    ) -> None:
        super().__init__(source, f"The text of {source.paths[0]}", tokens, seed)
        self.source, self._files = source, files
        share = {"train": 1 - source.heldout_share, "heldout": source.heldout_share}
        wanted = tokens * WHOLE_BYTES / share.get(source.part, 1.0)
        self._part_bytes = min(max(int(wanted / PARTS), SMALLEST_PART), LARGEST_PART)
        self._sizes = [file.stat().st_size for file in files]
        self._wanted = wanted
        self._extents: list[_Extent] = []
        self._index: dict[tuple[int, int], int] = {}
        self._cut: set[TextFile] = set()
        self._groups: dict[TextFile, str] = {}

    def _describe_size(self) -> str:
        pairs = zip(self._files, self._sizes, strict=True)
        return " ".join(f"{file.suffix} {size}" for file, size in pairs)

    def describe_files(self) -> list[tuple[str, int, int] | tuple[str, int, int, str]]:
        """Return path, size and time of the last change of each file, which tell it without reading.

        Plain texts on this disk with a byte order mark, which was read as text once, have a fourth.
        """
        described: list[tuple[str, int, int] | tuple[str, int, int, str]] = []
        for file, size in zip(self._files, self._sizes, strict=True):
            known = str(file), size, file.stat().st_mtime_ns
            may_be_plain = isinstance(file, Path) and not file.name.lower().endswith(RECORD_ENDINGS)
            described.append((*known, "mark") if may_be_plain and has_order_mark(file) else known)
        return described

    def estimate(self, documents: int, tokens: dict[int, int]) -> Availability:
        """Estimate the tokens of the whole text, on the side of the split.

        Args:
            documents: Number of documents that were tokenized, empty ones left out.
            tokens: Their tokens by part.
        """
        parts = self._covered_parts(documents)
        totals: Counter[str] = Counter()
        for extent in self._extents:
            totals[extent.file.suffix] += extent.stop - extent.start
        found = estimate_tokens(parts, tokens, totals)
        if not self._cut:
            return found
        first, more = min(self._cut, key=str), len(self._cut) - 1
        what = f"{first.name} and {more} more files" if more else first.name
        remark = f"{what} can only be read from the beginning, and only that was read"
        return Availability(found.tokens, found.std_error, found.total_bytes, remark)

    def _read_parts(self) -> Iterator[Document]:
        """Yield the documents of all parts; of files without ranges a longer beginning each round."""
        self._parts, self._index, self._cut = [], {}, set()
        extents = self._extents = list(self._list_extents())
        self._refuse_other_side()
        lengths = [
            1 if e.kind == "beginning" else -(-(e.stop - e.start) // self._part_bytes)
            for e in extents
        ]
        ends = np.cumsum(lengths)
        begun: dict[int, _Progress] = {}
        for place in spread_order(int(ends[-1]), self._seed):
            number = int(np.searchsorted(ends, place, side="right"))
            if extents[number].kind == "beginning":
                begun[number] = _Progress()
                yield from self._read_beginning(number, begun[number], 1)
            else:
                yield from self._read_range(number, place - int(ends[number]) + lengths[number])
        factor = 1
        while unfinished := [number for number, at in begun.items() if not at.is_finished]:
            for number in unfinished:
                yield from self._read_beginning(number, begun[number], factor)
            factor *= 2

    def _refuse_other_side(self) -> None:
        """Refuse large plain-text files, before they are read, that are all on the other side."""
        files = list(dict.fromkeys(extent.file for extent in self._extents))
        if self.source.part == "all" or any(extent.kind != "plain" for extent in self._extents):
            return
        is_wanted = self.source.part == "heldout"
        if all(is_held_out(self._identify(file), self.source) != is_wanted for file in files):
            what = "its only file is" if len(files) == 1 else f"all of its {len(files):,} files are"
            raise tell_empty_side(self._name, self.source, what)

    def _list_extents(self) -> Iterator[_Extent]:
        for file, size in zip(self._files, self._sizes, strict=True):
            kind = self._find_kind(file, size)
            ranges = [(0, size)] if kind == "beginning" else find_extents(file)
            if not ranges:
                raise DataError(
                    f"{file} has no data, only a hole, as of an unfinished download; fetch it again."
                )
            for start, stop in ranges:
                yield _Extent(file, size, start, stop, kind)

    def _find_kind(self, file: TextFile, size: int) -> str:
        name = file.name.lower()
        if name.endswith((".jsonl", ".ndjson", ".json")):
            if size <= self._part_bytes:
                return "beginning"
            if isinstance(file, RemoteFile) and not name.endswith(".json"):
                return "lines"  # a look into each of many files would cost more than the sample
            with tell_forbidden(file), file.open("rb") as stream:
                if is_json_array(stream):
                    return "beginning"
                stream.seek(0)
                if name.endswith(".json") and not _is_record(stream.readline(LARGEST_PART)):
                    return "beginning"
            return "lines"
        if size <= WHOLE_PLAIN or file.suffix.lower() in PACKINGS:
            return "beginning"
        return {"plain": "plain", "jsonl": "lines"}.get(find_format(file), "beginning")

    def _open_part(self, number: int, inner: int, weight: float) -> SampledPart:
        at = number, inner
        if at not in self._index:
            self._index[at] = len(self._parts)
            stratum = self._extents[number].file.suffix
            self._parts.append(SampledPart(weight, stratum=stratum))
        return self._parts[self._index[at]]

    def _read_range(self, number: int, inner: int) -> Iterator[Document]:
        extent = self._extents[number]
        start = extent.start + inner * self._part_bytes
        stop = min(start + self._part_bytes, extent.stop)
        part = self._open_part(number, inner, stop - start)
        index = self._index[number, inner]
        file = extent.file
        with tell_forbidden(file), file.open("rb") as stream:
            if extent.kind == "plain":
                check_plain(file, self.source)
                text, dropped = read_text(stream, start, stop, is_first=start == 0,
                                          is_last=stop == extent.size)  # fmt: skip
                part.covered = stop - start - dropped
                try:
                    # a byte order mark at the beginning of a file is no text
                    decoded = text.decode("utf-8-sig" if start == 0 else "utf-8")
                except UnicodeDecodeError as error:
                    wrong = error.object[error.start :]
                    stream.seek(start)
                    head = stream.read(stop - start).find(text)
                    place = start + head + len(text) - len(wrong)
                    raise tell_encoding(file, place) from None
                # line ends as where a text is read whole
                decoded = decoded.replace("\r\n", "\n").replace("\r", "\n")
                yield Document(decoded, self._identify(file), index)
                return
            for end, line in read_lines(stream, start, stop):
                part.covered = min(end, stop) - start
                if line.strip():
                    where = f"{file}, the line that ends at byte {end}"
                    for document in self._to_documents(where, parse_line(line, where)):
                        yield replace(document, part=index)
            part.covered = stop - start

    def _read_beginning(self, number: int, progress: _Progress, factor: int) -> Iterator[Document]:
        """Yield documents from where the last call stopped."""
        file, size = self._extents[number].file, self._extents[number].size
        share = size / sum(self._sizes) * max(1.0, len(self._files) / PARTS)
        first = max(self._part_bytes, share * self._wanted)
        format = find_format(file)
        if format == "parquet":
            yield from self._read_row_groups(number, progress, first, factor)
            return
        self._cut.add(file)
        part = self._open_part(number, 0, size)
        index, before = self._index[number, 0], progress.rows.get(0, 0)
        n_bytes = 0
        for n_rows, (row, covered) in enumerate(self._iterate_rows(file, format), start=1):
            if n_rows <= before:
                continue
            part.covered = min(covered, size)
            for document in row:
                n_bytes += len(document.text)
                yield replace(document, part=index)
            progress.rows[0] = n_rows
            if n_bytes >= first * factor:
                return
        part.covered, progress.is_finished = size, True
        self._cut.discard(file)

    def _iterate_rows(
        self, file: TextFile, format: str
    ) -> Iterator[tuple[Iterable[Document], float]]:
        """Yield the documents of each row, and the bytes of the file up to there."""
        with tell_forbidden(file), file.open("rb") as raw, tell_damage(file):
            unpacked = UnpackedStream(raw, file.suffix.lower())
            stream: Any = io.BufferedReader(unpacked)
            place = Place()
            for row in self._iterate_stream(stream, file, format, place):
                # without what was read ahead
                yield row, unpacked.taken * min(1.0, place.n_bytes / max(1, unpacked.given))

    def _iterate_stream(
        self, stream: Any, file: TextFile, format: str, place: Place
    ) -> Iterator[Iterable[Document]]:
        """Yield the documents of each row of a stream, and move `place` with them."""
        if format == "plain":
            check_plain(file, self.source)
            for document in read_blocks(stream, file, identify_file(file)):
                place.n_bytes += len(document.text.encode())
                yield [document]
        elif format == "jsonl":
            for count, line in enumerate(stream, start=1):
                place.n_bytes += len(line)
                if line.strip(BLANK):
                    where = f"{file}, line {count}"
                    yield self._to_documents(where, parse_line(line, where))
        elif format == "json":
            for row in read_json(stream, file, characters=READ_AHEAD, place=place):
                yield self._to_documents(*row)
        else:
            for row in read_csv(stream, file, place=place):
                yield self._to_documents(*row)

    def _to_documents(self, where: str, row: dict[str, Any]) -> Iterator[Document]:
        return to_documents([(where, row)], self.source, self._reader)

    def _identify(self, file: TextFile) -> str:
        """Return the group of a plain-text file, which is read once for it."""
        if file not in self._groups:
            self._groups[file] = identify_file(file)
        return self._groups[file]

    def _read_row_groups(
        self, number: int, progress: _Progress, first: float, factor: int
    ) -> Iterator[Document]:
        """Yield documents of rows spread over each row group, from where the last call stopped."""
        file, size = self._extents[number].file, self._extents[number].size
        table = RowGroups(file, list_columns(self.source), self._seed + SEED_STEP * number)
        groups, per_row = table.n_groups, size / max(1, table.n_rows)
        n_first, n_read = (
            max(1, min(groups, math.ceil(limit / self._part_bytes)))
            for limit in (first, first * factor)
        )
        table.set_reach(len(self._files), n_first, 2 * self._wanted)
        for inner in islice(spread_order(groups, self._seed), n_read):
            is_cut, rows = table.is_cut(inner), table.count_rows(inner)
            if is_cut:
                self._cut.add(file)
            # one group is several parts, so that the error of its estimate is known
            n_parts = PARTS if groups == len(self._files) == 1 and not is_cut else 1
            found = table.read(inner, progress.rows.get(inner, 0), first * factor / n_read)
            for place, row in found:
                at = inner + place * n_parts // rows
                self._open_part(number, at, rows * per_row / n_parts).covered += per_row
                progress.rows[inner] = progress.rows.get(inner, 0) + 1
                for document in self._to_documents(*row):
                    yield replace(document, part=self._index[number, at])
        if sum(progress.rows.values()) == table.n_rows:
            progress.is_finished = True
            self._cut.discard(file)


def _is_record(line: bytes) -> bool:
    """Return whether a line is a whole JSON object, as in JSON lines."""
    line = line.strip()
    return line.startswith(b"{") and line.endswith(b"}")
