"""Text that is tokenized already: its documents as tokens and as text, all or a spread sample."""

import hashlib
from collections.abc import Iterator
from functools import cache, cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixopt.config.text import TokensTextConfig
from mixopt.data.availability import Availability, SampledPart, estimate_tokens
from mixopt.data.document import Document, TokenDocument, is_held_out
from mixopt.data.sample import PARTS, spread_order
from mixopt.data.token_files import TokenFile, find_index, list_token_files, open_token_file
from mixopt.data.tokenizer import load_tokenizer
from mixopt.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SMALLEST_PART, LARGEST_PART = 1 << 12, 1 << 20
"""Tokens of a part of a file."""
OPEN_FILES = 64
"""Files that are open at a time, of all texts; each takes up to four descriptors of the process."""


class TokenText:
    """Documents of tokens, in an order of which every beginning is spread over all files.

    Args:
        source: The files.
        tokens: Tokens that are wanted; all if None.
        seed: Of the order.
    """

    def __init__(self, source: TokensTextConfig, tokens: int | None, seed: int) -> None:
        self.source, self.tokens = source, tokens
        self._files, self._seed = list_token_files(source), seed
        self._parts: list[SampledPart] = []

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The tokenizer that made the tokens."""
        return _load_once(self.source.tokenizer)

    def _open(self, number: int) -> TokenFile:
        file = self._files[number]
        index = find_index(file, self.source.format)
        changed = tuple(one.stat().st_mtime_ns for one in (file, index) if one is not None)
        return _open_file(
            file, changed, self.source.format, self.source.dtype,
            self.tokenizer.eos_token_id, len(self.tokenizer),
        )  # fmt: skip

    @cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        """Number of tokens of each file, and bytes of a token."""
        opened = map(self._open, range(len(self._files)))
        return [(file.n_tokens, file.token_bytes) for file in opened]

    @property
    def total(self) -> int:
        """Tokens of all files, on both sides of the split."""
        return sum(n_tokens for n_tokens, _ in self._sizes)

    def check_vocabulary(self, base: "PreTrainedTokenizerBase") -> None:
        """Check that a token means the same to the base.

        Args:
            base: Its tokenizer.

        Raises:
            DataError: It does not.
        """
        own, theirs = self.tokenizer.get_vocab(), base.get_vocab()
        # ids that were added to one of them are never met, or are met in both
        for token, number in own.items():
            if theirs.get(token) != number:
                raise DataError(
                    f"The tokens of {self.source.paths[0]} are of the tokenizer "
                    f"{self.source.tokenizer} ({len(own):,} tokens), and the base has another one "
                    f"({len(theirs):,}; they differ at {token!r}): give the text, or tokens of the "
                    "base's tokenizer."
                )

    def read_tokens(self) -> Iterator[TokenDocument]:
        """Yield the documents on the side of the split as tokens, without separators.

        Raises:
            DataError: A token is not of the vocabulary, or no document is on the side.
        """
        held_out, is_empty = self.source.part == "heldout", True
        for document in self._read_parts():
            if self.source.part == "all" or is_held_out(document.group, self.source) == held_out:
                is_empty = False
                yield document
        if is_empty:
            raise DataError(
                f"The tokens of {self.source.paths[0]} have no document on the {self.source.part} side "
                "of the split; give more documents, or part: all."
            )

    def read(self) -> Iterator[Document]:
        """Yield the same documents as text, as the tokenizer decodes them."""
        for document in self.read_tokens():
            text = self.tokenizer.decode(
                document.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            yield Document(text, document.group, document.part)

    def read_for_corpus(self) -> Iterator[Document]:
        """Yield what is tokenized, or is tokens already."""
        return self.read_tokens()

    def compute_fingerprint(self) -> str:
        """Hash the documents of the sample, and what determines which these are."""
        config = self.source.model_dump_json(exclude={"paths", "tokens", "tokenizer"})
        digest = hashlib.blake2b(f"{config} {self.tokens} {self._seed} ".encode(), digest_size=16)
        for n_tokens, token_bytes in self._sizes:
            digest.update(f"{n_tokens} {token_bytes} ".encode())
        n_tokens = 0
        for document in self.read_tokens():
            digest.update(document.group.encode())
            n_tokens += len(document.tokens) + 1
            if self.tokens is not None and n_tokens >= self.tokens:
                break
        return digest.hexdigest()

    def describe_files(self) -> list[tuple[str, int, int]]:
        """Return path, size and time of the last change of each file, which tell it without reading.

        Indexes are among them: they say where documents end.
        """
        indexes = [find_index(file, self.source.format) for file in self._files]
        # chunks of litdata share one index
        files = dict.fromkeys([*self._files, *filter(None, indexes)])
        stats = [(str(file), file.stat()) for file in files]
        return [(name, status.st_size, status.st_mtime_ns) for name, status in stats]

    def estimate(self, documents: int, tokens: dict[int, int]) -> Availability:
        """Estimate the tokens of the whole text, on the side of the split.

        Args:
            documents: Number of documents that were read.
            tokens: Their tokens by part.
        """
        for _ in islice(self.read_tokens(), documents):
            pass
        found = estimate_tokens(self._parts, tokens, {"": self.total})
        n_bytes = sum(n_tokens * token_bytes for n_tokens, token_bytes in self._sizes)
        return Availability(found.tokens, found.std_error, n_bytes)

    def _read_parts(self) -> Iterator[TokenDocument]:
        wanted = self.total if self.tokens is None else self.tokens
        size = min(max(wanted // PARTS, SMALLEST_PART), LARGEST_PART)
        ends = np.cumsum([-(-n_tokens // size) for n_tokens, _ in self._sizes])
        self._parts = []
        order = (
            range(int(ends[-1])) if self.tokens is None else spread_order(int(ends[-1]), self._seed)
        )
        for place in order:
            number = int(np.searchsorted(ends, place, side="right"))
            file = self._open(number)
            start = (place - (int(ends[number - 1]) if number else 0)) * size
            stop = min(start + size, file.n_tokens)
            part = SampledPart(stop - start)
            self._parts.append(part)
            for end, tokens in file.read(start, stop):
                part.covered = min(end, stop) - start
                stripped = self._strip(tokens, file.path)
                if len(stripped):
                    index = len(self._parts) - 1
                    yield TokenDocument("", _name(stripped), index, tokens=stripped)
            part.covered = stop - start

    def _strip(self, tokens: NDArray[Any], path: Path) -> NDArray[np.uint32]:
        """Return the tokens of a document without those that mark its ends."""
        marks = {self.tokenizer.bos_token_id, self.tokenizer.eos_token_id}
        start, stop = 0, len(tokens)
        while stop and int(tokens[stop - 1]) in marks:
            stop -= 1
        while start < stop and int(tokens[start]) in marks:
            start += 1
        kept = tokens[start:stop]
        if len(kept) and not 0 <= int(kept.min()) <= int(kept.max()) < len(self.tokenizer):
            wrong = int(kept.min()) if int(kept.min()) < 0 else int(kept.max())
            raise DataError(
                f"{path} has the token {wrong:,}, and its tokenizer {self.source.tokenizer} has "
                f"{len(self.tokenizer):,}; name the tokenizer that made it, or correct `dtype`."
            )
        return kept.astype(np.uint32)


def _name(tokens: NDArray[np.uint32]) -> str:
    return hashlib.blake2b(tokens.astype("<u4").tobytes(), digest_size=16).hexdigest()


@lru_cache(maxsize=OPEN_FILES)
def _open_file(
    path: Path,
    changed: tuple[int, ...],
    format: str | None,
    token_type: str | None,
    separator: int,
    size: int,
) -> TokenFile:
    """Open a file of tokens, which keeps descriptors open; few are open at a time."""
    del changed  # a part of the key, so that a file that is written again is read again
    return open_token_file(path, format, token_type, separator, size)


@cache
def _load_once(name: str) -> "PreTrainedTokenizerBase":
    return load_tokenizer(name)


def open_token_text(source: TokensTextConfig, tokens: int | None, seed: int) -> TokenText:
    """Return a text of tokens, or its sample where it has more than a study can use.

    Args:
        source: The files.
        tokens: Tokens that the study can use; all are read if None.
        seed: Of the sample.

    Raises:
        DataError: A file is missing or damaged.
    """
    whole = TokenText(source, None, seed)
    return whole if tokens is None or whole.total <= tokens else TokenText(source, tokens, seed)
