"""Capability text: texts about what a benchmark asks, none of which contains one of its items.

A text is refused where it shares 13 words in a row with an item, or holds all words of a shorter one
(of five or more) in a row.

After SuperValid (arXiv:2605.28179): the core concepts of a capability's benchmarks are distilled and
spread over diverse texts, whose loss is a smooth signal of the capability. Here the concepts are the
terms that set the items apart from the user's own text, and the texts are found there by BM25
(Robertson & Zaragoza 2009); a model that the user gives may write more. The text is read twice, in a
stream. Terms are scikit-learn's.
"""

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from mixopt.data.contamination import RUN, WORD, RunIndex
from mixopt.errors import DataError

PIECE_BYTES = 2000
"""Documents are cut at paragraph ends into pieces of about this size."""
FEWEST_BYTES = 200
"""Shorter pieces say too little to be scored."""
SHORTEST = 5
"""Words of an item that is looked for; shorter ones are said by chance."""
CANDIDATES = 4000
"""Terms that are looked at, the most frequent of the items'."""
BATCH = 512
SATURATION, LENGTH_SHARE = 1.2, 0.75
"""BM25's k1 and b."""

Array = NDArray[np.float64]
Write = Callable[[str], str]
"""Writes a text about a concept."""


@dataclass(frozen=True)
class Passage:
    """A text about a concept.

    Attributes:
        text: The text.
        concept: What it was chosen for.
        source: `corpus`, or `model` where one wrote it.
    """

    text: str
    concept: str
    source: str = "corpus"


@dataclass(frozen=True)
class CapabilityText:
    """Capability text and how it came to be.

    Attributes:
        passages: The texts.
        concepts: The terms, most telling first.
        refused: Texts that contained a benchmark item (a run of 13 words).
        read: Pieces of the corpus that were looked at.
    """

    passages: tuple[Passage, ...]
    concepts: tuple[str, ...]
    refused: int
    read: int


def collect_capability_text(
    items: Sequence[str],
    documents: Callable[[], Iterable[str]],
    *,
    texts: int,
    concepts: int,
    write: Write | None = None,
) -> CapabilityText:
    """Up to `texts` passages about the core concepts of `items`.

    Args:
        items: Whole texts of the benchmarks' items.
        documents: Opens the user's text from its beginning; called twice.
        texts: Passages to keep; each concept has its turn in choosing one.
        concepts: Terms to look for.
        write: Writes one more text about each concept.

    Raises:
        DataError: The items have no terms of their own, or nothing in the text is about them.
    """
    counter = _count_terms(items)
    terms = counter.get_feature_names_out()
    in_items = np.asarray((counter.transform(items) > 0).sum(axis=0)).ravel()
    seen, pieces, length = np.zeros(len(terms)), 0, 0
    for batch in _batched(_pieces(documents())):
        seen += np.asarray((counter.transform(batch) > 0).sum(axis=0)).ravel()
        pieces += len(batch)
        length += sum(len(piece.split()) for piece in batch)
    if not pieces:
        raise DataError(
            f"The corpus has no piece of {FEWEST_BYTES} bytes or more; give it more text."
        )
    chosen = _choose_concepts(in_items, len(items), seen, pieces, concepts)
    if not len(chosen):
        raise DataError(
            "Nothing in the corpus is about what the benchmark asks; give a corpus of its field."
        )
    rarity = np.log(1 + (pieces - seen[chosen] + 0.5) / (seen[chosen] + 0.5))
    index = _Items(items)
    heaps, refused = _find(counter, chosen, rarity, length / pieces, documents, index, texts)
    names = [str(terms[place]) for place in chosen]
    passages = _take_turns(heaps, names, texts)
    if write is not None:
        for name in names:
            text = write(name)
            if index.are_in(text):
                refused += 1
            elif len(text.encode()) >= FEWEST_BYTES:
                passages.append(Passage(text, name, "model"))
    return CapabilityText(tuple(passages), tuple(names), refused, pieces)


class _Items:
    """The items, to be looked for in texts."""

    def __init__(self, items: Sequence[str]) -> None:
        self._index = RunIndex({"items": items})
        words = [WORD.findall(item.lower()) for item in items]
        self._short = [f" {' '.join(some)} " for some in words if SHORTEST <= len(some) < RUN]

    def are_in(self, text: str) -> bool:
        """Whether some item is in `text`."""
        if self._index.find(text):
            return True
        if not self._short:
            return False
        spoken = f" {' '.join(WORD.findall(text.lower()))} "
        return any(item in spoken for item in self._short)


def _count_terms(items: Sequence[str]) -> CountVectorizer:
    """Counts the items' words and pairs of words, the commonest English ones left out."""
    counter = CountVectorizer(
        ngram_range=(1, 2), stop_words="english", max_features=CANDIDATES,
        token_pattern=r"(?u)\b[^\W\d_]{3,}\b",
    )  # fmt: skip
    try:
        return counter.fit(items)
    except ValueError:
        raise DataError(
            "The benchmark's items have no words to look for; capability text needs items in words."
        ) from None


def _choose_concepts(
    in_items: Array, items: int, seen: Array, pieces: int, count: int
) -> NDArray[np.intp]:
    """The terms that say most of whether a text is an item (signed log-likelihood ratio, Dunning 1993).

    Those that the corpus lacks cannot be found, and those of one item are its own affair.
    """
    rate_items, rate_seen = in_items / items, seen / pieces
    both = (in_items + seen) / (items + pieces)
    with np.errstate(divide="ignore", invalid="ignore"):
        telling = in_items * np.log(rate_items / both) + np.where(
            seen > 0, seen * np.log(rate_seen / both), 0.0
        )
    telling = np.where((rate_items > rate_seen) & (seen > 0) & (in_items > 1), telling, -np.inf)
    order = np.argsort(-telling, kind="stable")[:count]
    return np.asarray(order[np.isfinite(telling[order])])


def _find(
    counter: CountVectorizer,
    chosen: NDArray[np.intp],
    rarity: Array,
    mean_length: float,
    documents: Callable[[], Iterable[str]],
    index: "_Items",
    texts: int,
) -> tuple[list[list[tuple[float, int, str]]], int]:
    """For each concept the pieces that are most about it and the others, and how many are refused."""
    heaps: list[list[tuple[float, int, str]]] = [[] for _ in chosen]
    refused, number = 0, 0
    known: set[int] = set()
    for batch in _batched(_pieces(documents())):
        counts = counter.transform(batch)[:, chosen].toarray().astype(np.float64)
        lengths = np.array([len(piece.split()) for piece in batch])
        longer = 1 - LENGTH_SHARE + LENGTH_SHARE * lengths / mean_length
        parts = rarity * counts * (SATURATION + 1) / (counts + SATURATION * longer[:, None])
        whole = parts.sum(axis=1)
        for row, piece in enumerate(batch):
            number += 1
            about = np.flatnonzero(counts[row])
            if not len(about) or hash(piece) in known:
                continue
            known.add(hash(piece))
            if index.are_in(piece):
                refused += 1
                continue
            for place in about:
                # about its concept first, then about the others
                value = parts[row, place] + whole[row] / len(chosen)
                entry = (float(value), -number, piece)
                push = heapq.heappush if len(heaps[place]) < texts else heapq.heappushpop
                push(heaps[place], entry)
    return heaps, refused


def _take_turns(
    heaps: Sequence[list[tuple[float, int, str]]], names: Sequence[str], texts: int
) -> list[Passage]:
    """Concepts choose in turn, each the best of its pieces that no other has."""
    ranked = [sorted(heap, reverse=True) for heap in heaps]
    taken: set[str] = set()
    passages: list[Passage] = []
    while len(passages) < texts and any(ranked):
        for name, queue in zip(names, ranked, strict=True):
            while queue and queue[0][2] in taken:
                queue.pop(0)
            if queue and len(passages) < texts:
                text = queue.pop(0)[2]
                taken.add(text)
                passages.append(Passage(text, name))
    return passages


def _pieces(documents: Iterable[str]) -> Iterator[str]:
    """Documents cut at paragraph ends; a paragraph is never cut in two."""
    for document in documents:
        piece = ""
        for paragraph in re.split(r"(?<=\n)\n+", document):
            if piece and len(piece.encode()) + len(paragraph.encode()) > PIECE_BYTES:
                yield from _long_enough(piece)
                piece = ""
            piece += paragraph + "\n"
        yield from _long_enough(piece)


def _long_enough(piece: str) -> Iterator[str]:
    if len(piece.encode()) >= FEWEST_BYTES:
        yield piece.strip()


def _batched(pieces: Iterable[str]) -> Iterator[list[str]]:
    stream = iter(pieces)
    while batch := list(islice(stream, BATCH)):
        yield batch
