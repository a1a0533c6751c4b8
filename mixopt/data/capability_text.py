"""Capability text: passages about the concepts of a benchmark that contain none of its items.

SuperValid (arXiv:2605.28179) takes the loss on texts about a capability's core concepts as a smooth
signal of it. Here concepts are the terms that distinguish the items from the user's text (log-likelihood
ratio), and passages are retrieved from that text, read twice as a stream, by BM25 (Robertson & Zaragoza
2009). A passage is rejected where it shares 13 consecutive words with an item, or contains a shorter one
of at least five words.
"""

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from mixopt.data.contamination import RUN, RunIndex
from mixopt.data.word_runs import WORD, fold_case
from mixopt.errors import DataError

PIECE_BYTES = 2000
"""Approximate size of the pieces into which documents are split at paragraph ends."""
FEWEST_BYTES = 200
"""Smallest piece that is used."""
SHORTEST = 5
"""Fewest words of an item that is searched for; shorter ones occur by chance."""
CANDIDATES = 4000
"""Number of candidate terms, the most frequent ones of the items."""
BATCH = 512
SATURATION, LENGTH_SHARE = 1.2, 0.75
"""BM25's k1 and b."""

Array = NDArray[np.float64]
_Heap = list[tuple[float, int, str]]


@dataclass(frozen=True)
class Passage:
    """A text about a concept.

    Attributes:
        text: The text.
        concept: Concept that it was retrieved for.
        source: `corpus`, or `model` if a model wrote it.
    """

    text: str
    concept: str
    source: str = "corpus"


@dataclass(frozen=True)
class CapabilityText:
    """Capability text and counts of how it was collected.

    Attributes:
        passages: The passages.
        concepts: The concepts, most distinctive first.
        refused: Number of passages rejected because they contain a benchmark item.
        read: Number of pieces of the corpus that were read.
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
    write: Callable[[str], str] | None = None,
) -> CapabilityText:
    """Collect passages about the core concepts of benchmark items.

    Args:
        items: Full texts of the items.
        documents: Opens the user's text from its beginning; called twice.
        texts: Most passages to keep from the text; concepts choose in turn.
        concepts: Number of concepts.
        write: Returns a text about a concept; called once for each.

    Returns:
        Passages, concepts and counts; passages of the text first, then the model's.

    Raises:
        DataError: The items have no distinctive terms, or no piece of the text contains them.
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
    index = _ItemIndex(items)
    heaps, refused = _find(counter, chosen, rarity, length / pieces, documents, index, texts)
    names = [str(terms[place]) for place in chosen]
    passages = _take_turns(heaps, names, texts)
    if write is not None:
        for name in names:
            text = write(name)
            if index.occur_in(text):
                refused += 1
            elif len(text.encode()) >= FEWEST_BYTES:
                passages.append(Passage(text, name, "model"))
    return CapabilityText(tuple(passages), tuple(names), refused, pieces)


class _ItemIndex:
    def __init__(self, items: Sequence[str]) -> None:
        self._index = RunIndex({"items": items})
        words = [WORD.findall(fold_case(item)) for item in items]
        self._short = [f" {' '.join(some)} " for some in words if SHORTEST <= len(some) < RUN]

    def occur_in(self, text: str) -> bool:
        if self._index.find(text):
            return True
        words = self._short and f" {' '.join(WORD.findall(fold_case(text)))} "
        return any(item in words for item in self._short)


def _count_terms(items: Sequence[str]) -> CountVectorizer:
    counter = CountVectorizer(ngram_range=(1, 2), stop_words="english", max_features=CANDIDATES,
                              token_pattern=r"(?u)\b[^\W\d_]{3,}\b")  # fmt: skip
    try:
        return counter.fit(items)
    except ValueError:
        raise DataError(
            "The benchmark's items have no words to look for; capability text needs items in words."
        ) from None


def _choose_concepts(
    in_items: Array, items: int, seen: Array, pieces: int, count: int
) -> NDArray[np.intp]:
    """Return the terms with the top signed log-likelihood ratio (Dunning 1993) of items against corpus.

    Terms that the corpus lacks and terms of a single item are left out.
    """
    rate_items, rate_seen = in_items / items, seen / pieces
    both = (in_items + seen) / (items + pieces)
    with np.errstate(divide="ignore", invalid="ignore"):
        in_corpus = np.where(seen > 0, seen * np.log(rate_seen / both), 0.0)
        ratio = in_items * np.log(rate_items / both) + in_corpus
    ratio = np.where((rate_items > rate_seen) & (seen > 0) & (in_items > 1), ratio, -np.inf)
    order = np.argsort(-ratio, kind="stable")[:count]
    return np.asarray(order[np.isfinite(ratio[order])])


def _find(
    counter: CountVectorizer,
    chosen: NDArray[np.intp],
    rarity: Array,
    mean_length: float,
    documents: Callable[[], Iterable[str]],
    index: _ItemIndex,
    texts: int,
) -> tuple[list[_Heap], int]:
    heaps: list[_Heap] = [[] for _ in chosen]
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
            if index.occur_in(piece):
                refused += 1
                continue
            for place in about:
                # its own concept counts most, the others by their mean
                value = parts[row, place] + whole[row] / len(chosen)
                entry = (float(value), -number, piece)
                push = heapq.heappush if len(heaps[place]) < texts else heapq.heappushpop
                push(heaps[place], entry)
    return heaps, refused


def _take_turns(heaps: Sequence[_Heap], names: Sequence[str], texts: int) -> list[Passage]:
    """Let concepts choose in turn, each the best of its pieces that none has chosen."""
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
