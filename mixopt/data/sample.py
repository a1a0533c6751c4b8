"""What samples of large texts share: their order, where they end, their hash, and what they cover."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from mixopt.config.text import FilesTextConfig, HubTextConfig
from mixopt.data.availability import SampledPart
from mixopt.data.document import Document, is_held_out, tell_empty_side
from mixopt.data.sources import open_reader
from mixopt.errors import DataError

WHOLE_BYTES = 4
"""Bytes of text per token of the limit up to which a text is read whole."""
MOST_BYTES = 6
"""Bytes of documents per token of the limit at which a sample ends, also with fewer tokens."""
PARTS = 256
"""Parts that a sample has at least, where the text has as many."""


class Sample(ABC):
    """Documents of a large text, in an order of which every beginning is spread over all of it.

    Args:
        source: The text.
        name: What it is, for messages (`Dataset 'x'`).
        tokens: Tokens that are wanted.
        seed: Of the order.
    """

    def __init__(
        self, source: FilesTextConfig | HubTextConfig, name: str, tokens: int, seed: int
    ) -> None:
        self.tokens, self._seed = tokens, seed
        self._text, self._name = source, name
        self._parts: list[SampledPart] = []
        self._reader = open_reader(source)

    @abstractmethod
    def _read_parts(self) -> Iterator[Document]:
        """Yield the documents of all parts, of both sides of the split, and set `_parts`."""

    @abstractmethod
    def _describe_size(self) -> str:
        """Return what determines, beside config and seed, which documents the sample has."""

    def read_all(self) -> Iterator[Document]:
        """Yield all documents on the side of the split, in the order of the sample.

        Raises:
            DataError: What is reached cannot be read, or none of the records has one of the fields.
        """
        held_out = self._text.part == "heldout"
        self._reader = open_reader(self._text)
        for document in self._read_parts():
            if self._text.part == "all" or is_held_out(document.group, self._text) == held_out:
                yield document
        self._reader.finish()

    def read(self) -> Iterator[Document]:
        """Yield documents on the side of the split, until enough bytes of text were read.

        Raises:
            DataError: What is reached cannot be read, or no document is on the side.
        """
        n_bytes = 0
        for document in self.read_all():
            n_bytes += len(document.text.encode())
            yield document
            if n_bytes >= MOST_BYTES * self.tokens:
                self._reader.finish()
                return
        if n_bytes:
            return
        if self._text.where:
            raise DataError(
                f"{self._name} has no document that matches `where` on its {self._text.part} side; "
                "correct them."
            )
        if self._text.part == "all":
            raise DataError(f"{self._name} has no document with text; give another one.")
        raise tell_empty_side(self._name, self._text, "all of its documents are")

    def read_for_corpus(self) -> Iterator[Document]:
        """Yield what is tokenized."""
        return self.read()

    def compute_fingerprint(self) -> str:
        """Hash the documents of the sample, and what determines which these are."""
        config = self._text.model_dump_json(exclude={"path", "paths", "tokens"})
        start = f"{config} {self.tokens} {self._seed} {self._describe_size()} "
        digest = hashlib.blake2b(start.encode(), digest_size=16)
        for document in self.read():
            content = document.text.encode()
            digest.update(f"{document.part} {len(content)} ".encode())
            digest.update(content)
            digest.update(b"" if document.value is None else repr(document.value).encode())
        return digest.hexdigest()

    def _covered_parts(self, documents: int) -> list[SampledPart]:
        """Return the parts of the sample, with what its first documents cover of each.

        Args:
            documents: Number of documents that were used, empty ones left out.
        """
        used = (document for document in self.read() if document.text)
        for _ in islice(used, documents):
            pass
        parts = [replace(part) for part in self._parts]
        # with no further document, the last part is finished
        return self._parts if next(used, None) is None else parts


def spread_order(n: int, seed: int) -> Iterator[int]:
    """Yield 0 to `n` − 1, each once, so that every beginning of the order is spread evenly.

    Args:
        n: Number of places.
        seed: Of the first place.
    """
    # a Fibonacci number and the one before it are coprime, and their ratio is nearly the golden one
    step, size = 1, 2
    while size < n:
        step, size = size, step + size
    place = int(np.random.default_rng([seed, n]).integers(size))
    for _ in range(size):
        if place < n:
            yield place
        place = (place + step) % size
