"""A text that is split into buckets of documents, each a corpus of its own.

The text is tokenized once, as a corpus of all documents; a bucket's corpus has copies of its documents'
tokens. Quantiles are of documents, so buckets differ in tokens. Shapes: `n` documents, `b` buckets.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.buckets import BucketConfig, TextSplitConfig, bucket_domain
from mixopt.data.corpus import SHARD_TOKENS, Corpus
from mixopt.data.document import Document
from mixopt.errors import DataError, did_you_mean
from mixopt.io.parsing import show
from mixopt.mixture import Array

KIND = "splits"
READ_TOKENS = 1 << 24
"""Tokens of a corpus that are read at a time."""
BATCH = 256
"""Documents whose values are found at a time."""
LEFT_OUT = -1
"""Bucket of a document that `keep` leaves out."""
KEPT_TOLERANCE = 0.05
"""Difference between the share of documents that `keep` asks for and the kept one that is allowed."""


class PerplexityModel(Protocol):
    """Models whose perplexity splits texts; `mixopt.pipeline` has the one that loads them."""

    def compute_key(self, path: str | None) -> str:
        """Return the identity of a model by its path; of the study's base if None."""

    def open(self, path: str | None) -> Callable[[Iterable[str]], Iterator[float]]:
        """Load a model by its path; return what yields the perplexity of each text."""


@dataclass(frozen=True)
class Edges:
    """Values between which buckets lie.

    Attributes:
        low: Documents up to this value are left out.
        high: Documents above this value are left out.
        cuts: Largest value of each bucket but the last (`b − 1`).
    """

    low: float
    high: float
    cuts: tuple[float, ...]

    @classmethod
    def find(cls, values: Array, split: TextSplitConfig) -> "Edges":
        """Return the edges at the quantiles of values (`n`)."""
        low, high = -math.inf, math.inf
        if split.keep is not None:
            start, stop = _kept_range(split.keep)
            low = float(np.quantile(values, start)) if start > 0 else low
            high = float(np.quantile(values, stop)) if stop < 1 else high
        kept = values[(values > low) & (values <= high)]
        cuts = [float(cut) for cut in np.quantile(kept, split.quantiles)] if len(kept) else []
        return cls(low, high, tuple(cuts))

    def assign(self, values: Array) -> NDArray[np.int64]:
        """Return the bucket of each value (`n`), `LEFT_OUT` of those that are not kept."""
        buckets = np.searchsorted(np.array(self.cuts), values, side="left")
        return np.where((values > self.low) & (values <= self.high), buckets, LEFT_OUT)


def _kept_range(keep: float | tuple[float, float]) -> tuple[float, float]:
    return keep if isinstance(keep, tuple) else (0.0, keep)


@dataclass(frozen=True, eq=False)
class TextSplit:
    """Which bucket each document of a corpus is in.

    Attributes:
        buckets: Bucket of each document (`n`).
        lengths: Its tokens in the corpus, with separators (`n`).
        sizes: Its bytes of UTF-8 text (`n`).
        edges: Between the buckets; None where they are categories.
    """

    buckets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    sizes: NDArray[np.int64]
    edges: Edges | None

    @classmethod
    def open(cls, folder: Path) -> "TextSplit":
        """Open the split in `folder`."""
        arrays = np.load(folder / "documents.npz")
        plain = json.loads((folder / "edges.json").read_text())
        edges = None if plain is None else Edges(plain["low"], plain["high"], tuple(plain["cuts"]))
        return cls(arrays["buckets"], arrays["lengths"], arrays["sizes"], edges)

    def save(self, folder: Path) -> None:
        """Write the split into `folder`."""
        np.savez(
            folder / "documents.npz", buckets=self.buckets, lengths=self.lengths, sizes=self.sizes
        )
        plain = None if self.edges is None else asdict(self.edges)
        (folder / "edges.json").write_text(json.dumps(plain))


Measure = Callable[[Iterable[Document]], Iterator[float | str]]


def make_measure(split: TextSplitConfig, group: str, models: PerplexityModel | None) -> Measure:
    """Return what yields the value of each document: a number, or a category's name.

    A model is loaded now, once for all batches, and is freed with what is returned.

    Args:
        split: Says what the value is.
        group: Name of the text, for messages.
        models: Whose perplexity counts; needed for that alone.
    """
    perplexity: Callable[[Iterable[str]], Iterator[float]] | None = None
    if split.by == "perplexity":
        assert models is not None
        perplexity = models.open(split.reference)

    def measure(documents: Iterable[Document]) -> Iterator[float | str]:
        if perplexity is not None:
            return iter(perplexity(document.text for document in documents))
        if split.by == "length":
            return (float(len(document.text)) for document in documents)
        convert = str if split.values else _to_number
        return (convert(_require(d.value, split, group)) for d in documents)

    def _to_number(value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"The text of {group!r} is split by field {split.field!r} at quantiles, and a document "
                f"has {show(value)} there; give numbers, or name the categories (split.values)."
            )
        return number

    return measure


def _require(value: Any, split: TextSplitConfig, group: str) -> Any:
    if value is None:
        raise DataError(
            f"The text of {group!r} is split by field {split.field!r}, and a document has none; fill it "
            "in, or read only documents that have it (`where` of the text)."
        )
    return value


def assign(
    values: list[float | str], split: TextSplitConfig, group: str, edges: Edges | None = None
) -> tuple[NDArray[np.int64], Edges | None]:
    """Return the bucket of each value (`n`), and the edges between buckets.

    Args:
        values: As `make_measure` yields them.
        split: How the text is split.
        group: Name of the text, for messages.
        edges: Found before; at the quantiles of the values if left out.

    Raises:
        DataError: A category is not one of those that the split lists, or equal values are so many that
            another share of documents would be kept than `keep` asks for.
    """
    if split.values:
        number = {name: index for index, name in enumerate(split.values)}
        for value in values:
            if value not in number:
                raise DataError(
                    f"The text of {group!r} is split by field {split.field!r}, and a document has "
                    f"{show(value)}, which split.values does not list; add it, or leave such documents "
                    f"out (`where` of the text). {did_you_mean(str(value), split.values)}"
                )
        return np.array([number[str(value)] for value in values], dtype=np.int64), None
    found = np.array(values, dtype=np.float64)
    if edges is not None:
        return edges.assign(found), edges
    edges = Edges.find(found, split)
    buckets = edges.assign(found)
    _check_kept(buckets, found, split, group)
    return buckets, edges


def _check_kept(
    buckets: NDArray[np.int64], values: Array, split: TextSplitConfig, group: str
) -> None:
    """Refuse a split in which ties keep many more or fewer documents than are asked for."""
    if split.keep is None:
        return
    start, stop = _kept_range(split.keep)
    kept = float((buckets != LEFT_OUT).mean())
    if abs(kept - (stop - start)) <= KEPT_TOLERANCE + 2 / len(values):
        return
    unique, counts = np.unique(values, return_counts=True)
    keep = list(split.keep) if isinstance(split.keep, tuple) else split.keep
    raise DataError(
        f"The text of {group!r}: split.keep {keep} would keep {kept:.0%} of its documents, as "
        f"{counts.max() / len(values):.0%} of them have the same value, {unique[counts.argmax()]:g}; "
        "give a keep whose ends lie outside of equal values, or select documents by `where` of the text."
    )


def split_artifact(corpus: Artifact, split: TextSplitConfig, reference: str | None) -> Artifact:
    """Return the artifact of a split.

    Args:
        corpus: Of the whole text.
        split: How it is split.
        reference: Identity of the model whose perplexity counts.
    """
    key = {"corpus": corpus.key, "split": _describe(split), "reference": reference}
    return Artifact(KIND, corpus.name, key)


def fingerprint_bucket(source: str, bucket: BucketConfig, reference: str | None) -> str:
    """Hash what determines the documents of a bucket.

    Args:
        source: Fingerprint of the whole text.
        bucket: Which bucket.
        reference: Identity of the model whose perplexity counts.
    """
    plain = [source, _describe(bucket.split), bucket.index, reference]
    return hashlib.blake2b(json.dumps(plain).encode(), digest_size=16).hexdigest()


def _describe(split: TextSplitConfig) -> dict[str, Any]:
    # the reference counts by its content
    return split.model_dump(mode="json", exclude={"reference"})


def find_split(
    corpus: Corpus,
    documents: Iterable[Document],
    split: TextSplitConfig,
    group: str,
    *,
    measure: Measure,
    separator: tuple[int, str],
) -> TextSplit:
    """Return which bucket each document of a corpus is in.

    Args:
        corpus: Of the whole text.
        documents: Those whose tokens it has, in order (`n`).
        split: How the text is split.
        group: Name of the text.
        measure: Yields the value of each document.
        separator: The token after each document, and its text; an empty text if it is never a token
            inside of a document.

    Raises:
        DataError: A bucket is empty, or a document lacks its value.
    """
    values: list[float | str] = []
    sizes: list[int] = []
    inner: list[int] = []
    rest = iter(documents)
    while batch := list(islice(rest, BATCH)):
        values += measure(batch)
        sizes += [len(document.text.encode()) for document in batch]
        inner += [d.text.count(separator[1]) if separator[1] else 0 for d in batch]
    buckets, edges = assign(values, split, group)
    for index, name in enumerate(split.names):
        if not (buckets == index).any():
            raise DataError(
                f"The bucket {bucket_domain(group, name)!r} has no document: the {len(values):,} "
                f"documents of {group!r} have {len(set(values)):,} different values; give fewer "
                f"{'values' if split.values else 'quantiles'}, or more text."
            )
    lengths = _count_tokens(corpus, separator[0], np.array(inner), group)
    return TextSplit(buckets, lengths, np.array(sizes, dtype=np.int64), edges)


def _count_tokens(
    corpus: Corpus, separator: int, inner: NDArray[np.int64], group: str
) -> NDArray[np.int64]:
    """Return the tokens of each document (`n`), by the separators in the corpus."""
    ends = []
    for start in range(0, corpus.tokens, READ_TOKENS):
        tokens = corpus.read(start, min(READ_TOKENS, corpus.tokens - start))
        ends.append(start + 1 + np.flatnonzero(tokens == separator))
    found, last = np.concatenate(ends), np.cumsum(inner + 1) - 1
    if len(found) != last[-1] + 1:
        raise DataError(
            f"The documents of {group!r} contain the tokenizer's end-of-text token in a form that hides "
            "where they end; remove it from the text."
        )
    return np.diff(found[last], prepend=0)


def build_bucket(
    artifact: Artifact, corpus: Corpus, split: TextSplit, index: int, cache: ArtifactStore
) -> Corpus:
    """Return the corpus of a bucket, copied from that of the whole text unless `cache` has it.

    Args:
        artifact: Its name.
        corpus: Of the whole text.
        split: Buckets of its documents.
        index: Of the bucket.
        cache: Where corpora are kept.
    """
    chosen = np.flatnonzero(split.buckets == index)
    starts = np.cumsum(split.lengths) - split.lengths
    tokens = int(split.lengths[chosen].sum())

    def build(scratch: Path) -> None:
        places = zip(starts[chosen].tolist(), split.lengths[chosen].tolist(), strict=True)
        _write_shards(
            (corpus.read(start, length) for start, length in places), corpus.dtype, scratch
        )
        plain: dict[str, Any] = {
            "tokens": tokens, "documents": len(chosen), "bytes": int(split.sizes[chosen].sum()),
            "dtype": corpus.dtype,
        }  # fmt: skip
        if corpus.available is not None:
            whole, share = corpus.available, tokens / corpus.tokens
            plain["available"] = asdict(replace(
                whole, tokens=max(1, round(share * whole.tokens)),
                std_error=None if whole.std_error is None else share * whole.std_error,
                total_bytes=round(share * whole.total_bytes),
            ))  # fmt: skip
        (scratch / "corpus.json").write_text(json.dumps(plain))

    return Corpus.open(cache.get_or_build(artifact, build))


def _write_shards(documents: Iterable[NDArray[np.int64]], dtype: str, folder: Path) -> None:
    pending: list[NDArray[np.int64]] = []
    size, number = 0, 0
    for tokens in chain(documents, [None]):
        if tokens is not None:
            pending.append(tokens)
            size += len(tokens)
        while pending and (size >= SHARD_TOKENS or tokens is None):
            joined = np.concatenate(pending)
            joined[:SHARD_TOKENS].astype(dtype).tofile(folder / f"shard-{number:05d}.bin")
            pending = [joined[SHARD_TOKENS:]] if len(joined) > SHARD_TOKENS else []
            size, number = max(0, len(joined) - SHARD_TOKENS), number + 1
