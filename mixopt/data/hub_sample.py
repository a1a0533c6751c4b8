"""A sample of a dataset of the `datasets` library that is too large to be read whole.

Of a saved dataset rows all over it are read; of one that is streamed, rows at the beginning of each of
its shards.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from mixopt.config.text import HubTextConfig
from mixopt.data.availability import Availability, SampledPart, estimate_tokens
from mixopt.data.document import Document
from mixopt.data.hub_dataset import describe_version, each_row, open_dataset
from mixopt.data.sample import PARTS, WHOLE_BYTES, Sample, spread_order
from mixopt.data.sources import to_documents

ROWS = 16
"""Rows of a part at least."""
FIRST_ROWS = 16
"""Rows that are read of each shard at first; then twice as many, and so on."""


class HubSample(Sample):
    """Documents of a large dataset.

    Args:
        source: The dataset.
        rows: The dataset as its library opens it.
        tokens: Tokens that are wanted.
        seed: Of the order.
    """

    def __init__(self, source: HubTextConfig, rows: Any, tokens: int, seed: int) -> None:
        super().__init__(source, f"Dataset {source.path!r}", tokens, seed)
        self.source, self._rows = source, rows
        self._is_whole = False

    @property
    def _total(self) -> int:
        """Number of rows, 0 where the dataset does not tell it."""
        if hasattr(self._rows, "__len__"):
            return len(self._rows)
        split = (self._rows.info.splits or {}).get(self.source.split)
        return int(split.num_examples or 0) if split is not None else 0

    def _describe_size(self) -> str:
        return str(self._total)

    def describe_files(self) -> list[Any]:
        """Return what tells the dataset without reading it."""
        told = getattr(self._rows, "_fingerprint", None) or str(self._rows.info)
        return [self.source.path, self._total, told, describe_version(self.source)]

    def estimate(self, documents: int, tokens: dict[int, int]) -> Availability:
        """Estimate the tokens of the whole dataset, on the side of the split.

        Args:
            documents: Number of documents that were tokenized, empty ones left out.
            tokens: Their tokens by part.
        """
        parts = self._covered_parts(documents)
        if not self._total and not self._is_whole:
            return Availability(
                sum(tokens.values()), None, 0,
                "the dataset does not tell its number of rows, so only what was read counts: give "
                "available_tokens",
            )  # fmt: skip
        total: float = self._total or sum(part.covered for part in parts)
        found = estimate_tokens(parts, tokens, {"": total})
        return Availability(found.tokens, found.std_error, 0)

    def _read_parts(self) -> Iterator[Document]:
        self._parts, self._is_whole = [], False
        if hasattr(self._rows, "__len__"):
            yield from self._read_blocks()
        else:
            yield from self._read_shards()
        self._is_whole = True

    def _read_blocks(self) -> Iterator[Document]:
        total = self._total
        size = max(ROWS, min(1024, total // (16 * PARTS)))
        for place in spread_order(-(-total // size), self._seed):
            numbers = range(place * size, min((place + 1) * size, total))
            part = SampledPart(len(numbers))
            self._parts.append(part)
            rows = ((number, self._rows[number]) for number in numbers)
            yield from self._to_documents(rows, part, len(self._parts) - 1)

    def _read_shards(self) -> Iterator[Document]:
        count = self._rows.num_shards
        taken, unfinished, size = dict.fromkeys(range(count), 0), list(range(count)), FIRST_ROWS
        self._parts = [SampledPart(1.0) for _ in range(count)]
        order = list(spread_order(count, self._seed))
        while unfinished:
            for number in [each for each in order if each in unfinished]:
                shard = self._rows.shard(num_shards=count, index=number)
                before = taken[number]
                rows = enumerate(
                    islice(each_row(shard, self.source.path), before, before + size), before
                )
                part = self._parts[number]
                yield from self._to_documents(rows, part, number)
                taken[number] = int(part.covered)
                if taken[number] < before + size:
                    unfinished.remove(number)
            size *= 2

    def _to_documents(
        self, rows: Iterator[tuple[int, Any]], part: SampledPart, index: int
    ) -> Iterator[Document]:
        for number, row in rows:
            part.covered += 1
            where = f"{self.source.path}, row {number + 1}"
            for document in to_documents([(where, row)], self.source, self._reader):
                yield replace(document, part=index)


def find_hub_sample(source: HubTextConfig, tokens: int, seed: int) -> HubSample | None:
    """Return the sample of a dataset that is larger than what a study can use; None of a smaller one.

    Args:
        source: The dataset.
        tokens: Tokens that the study can use.
        seed: Of the sample.

    Raises:
        DataError: The dataset cannot be loaded.
    """
    rows = open_dataset(source)
    most = WHOLE_BYTES * tokens
    if hasattr(rows, "__len__"):
        size = int(rows.data.nbytes)
    else:
        split = (rows.info.splits or {}).get(source.split)
        size = int(split.num_bytes or 0) if split is not None else 0
    if not size:  # the dataset does not tell; what is small is read to its end
        for row in each_row(rows, source.path):
            size += len(json.dumps(row, default=str))
            if size > most:
                break
    return HubSample(source, rows, tokens, seed) if size > most else None
