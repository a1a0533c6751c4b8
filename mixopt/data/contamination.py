"""Contamination: benchmark items that share 13 consecutive words with training text.

The rule is GPT-3's (arXiv:2005.14165, appendix C): 13-grams are rarely shared by chance. Words are
compared in lower case, with composed accents (NFC) and without punctuation; a Chinese or Japanese
character counts as a word. Only words of the items are indexed, so a corpus of any size is read once, as
a stream.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.data.corpus import Corpus
from mixopt.data.word_runs import (
    WORD,
    cut_texts,
    find_owners,
    fold_case,
    hash_all_runs,
    hash_runs,
    map_on_cores,
)

RUN = 13
"""Words of an n-gram."""
SPARSE = 16
"""Places of the table of first bits per run of an item."""


@dataclass(frozen=True)
class Contamination:
    """How many items of a benchmark occur in a domain's training text.

    Attributes:
        benchmark: Name of the benchmark.
        domain: Name of the domain.
        items: Items of at least 13 words.
        short: Shorter items, which cannot be searched for.
        found: Items that share 13 consecutive words with the text.
    """

    benchmark: str
    domain: str
    items: int
    short: int
    found: int


class RunIndex:
    """Index of the 13-grams of many texts, hashed to 64 bits.

    Args:
        texts: Texts of each group, by name.

    Attributes:
        owners: Group and position in it of each text.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        self.owners = [
            (name, place) for name, group in texts.items() for place in range(len(group))
        ]
        flat = [fold_case(text) for group in texts.values() for text in group]
        runs, owners = hash_runs(flat, RUN)
        order = np.argsort(runs, kind="stable")
        self._runs, self._owner_of = runs[order], owners[order]
        bits = min(max(16, (SPARSE * len(runs)).bit_length()), 24)
        self._shift = np.uint64(64 - bits)
        self._is_near = np.zeros(1 << bits, dtype=np.bool_)
        self._is_near[self._runs >> self._shift] = True

    def find(self, text: str) -> set[int]:
        """Return the indices in `owners` of the texts that share a 13-gram with `text`."""
        return self.find_in_all([text])

    def find_in_all(self, texts: Iterable[str]) -> set[int]:
        """Return the indices in `owners` of the texts that share a 13-gram with one of `texts`.

        Args:
            texts: Read once, as a stream, by all cores.
        """
        if not len(self._runs):
            return set()
        return map_on_cores(self._find_in_group, cut_texts(texts, RUN))

    def _find_in_group(self, group: list[str]) -> set[int]:
        runs, borders = hash_all_runs(group, RUN)
        # nearly all runs are told by the first bits of their hash
        near = np.flatnonzero(self._is_near[runs >> self._shift])
        hashes = runs[near[find_owners(near, borders, RUN)[1]]]
        nearest = np.searchsorted(self._runs, hashes)
        is_hit = self._runs[np.minimum(nearest, len(self._runs) - 1)] == hashes
        hashes = np.unique(hashes[is_hit])
        starts = np.searchsorted(self._runs, hashes)
        counts = np.searchsorted(self._runs, hashes, side="right") - starts
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return set(self._owner_of[np.repeat(starts, counts) + within].tolist())


class Items:
    """Texts of benchmark items, indexed once for all domains, with the first one that is searched.

    Args:
        texts: Texts of the items, by benchmark.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        self._texts = texts

    @cached_property
    def _index(self) -> RunIndex:
        return RunIndex(self._texts)

    @cached_property
    def _short(self) -> dict[str, int]:
        """Number of items of fewer than 13 words, by benchmark."""
        return {
            name: sum(len(WORD.findall(fold_case(text))) < RUN for text in group)
            for name, group in self._texts.items()
        }

    def count(self, domain: str, documents: Iterable[str]) -> list[Contamination]:
        """Count the items of each benchmark that occur in a text.

        Args:
            domain: Its name.
            documents: The text, read once.
        """
        found = Counter(
            self._index.owners[place][0] for place in self._index.find_in_all(documents)
        )
        return [
            Contamination(
                name, domain, len(group) - self._short[name], self._short[name], found[name]
            )
            for name, group in self._texts.items()
        ]


def measure_contamination(
    documents: Mapping[str, Callable[[], Iterable[str]]],
    corpora: Mapping[str, Corpus],
    texts: Mapping[str, Sequence[str]],
    store: ArtifactStore,
) -> list[Contamination]:
    """Count the items of each benchmark that occur in each domain's training text.

    Args:
        documents: Opens the training text, by domain.
        corpora: The same text tokenized, by domain; names of the folders identify the text.
        texts: Texts of the items, by benchmark.
        store: Holds the counts, so that a text is searched once.

    Returns:
        One count for each domain and benchmark.
    """
    digest = hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()
    overlaps, items = [], Items(texts)
    for domain in documents:

        def build(scratch: Path, domain: str = domain) -> None:
            counts = items.count(domain, documents[domain]())
            (scratch / "overlap.json").write_text(json.dumps([*map(asdict, counts)], indent=2))

        key = {"corpus": corpora[domain].folder.name, "items": digest}
        folder = store.get_or_build(Artifact("overlap", domain, key), build)
        rows = json.loads((folder / "overlap.json").read_text())
        overlaps += [Contamination(**row) for row in rows]
    return overlaps


def describe_contamination(overlaps: Iterable[Contamination]) -> list[str]:
    """Describe benchmarks that occur in training text or are too short to be searched for.

    Args:
        overlaps: Counts of all domains and benchmarks.

    Returns:
        At most two sentences; none where nothing is contaminated.
    """
    by_benchmark: dict[str, list[Contamination]] = {}
    too_short: dict[str, str] = {}
    for overlap in overlaps:
        if overlap.found:
            by_benchmark.setdefault(overlap.benchmark, []).append(overlap)
        if overlap.short and overlap.short >= overlap.items:  # half of them or more
            count = f" ({overlap.short} of {overlap.items + overlap.short})" * bool(overlap.items)
            too_short[overlap.benchmark] = f"{overlap.benchmark!r}{count}"
    sentences = []
    if too_short:
        sentences.append(
            f"Items of {', '.join(too_short.values())} are too short to be searched for in training "
            f"text: they have fewer than {RUN} words."
        )
    if by_benchmark:
        counts = [f"{name} ({_counts(overlaps)})" for name, overlaps in by_benchmark.items()]
        sentences.append(
            f"Some items share a run of {RUN} words with training text: {'; '.join(counts)}. That part "
            "of a benchmark's score is memory; drop those documents or those items."
        )
    return sentences


def _counts(overlaps: Sequence[Contamination]) -> str:
    items = overlaps[0].items + overlaps[0].short
    shares = ", ".join(f"{overlap.domain} {overlap.found}" for overlap in overlaps)
    return f"of {items} items {shares}"
