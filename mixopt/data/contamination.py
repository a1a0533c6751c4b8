"""Contamination: benchmark items that share 13 consecutive words with training text.

The rule is GPT-3's (arXiv:2005.14165, appendix C): 13-grams are rarely shared by chance. Words are
compared in lower case and without punctuation. Only words of the items are indexed, so a corpus of any
size is read once, as a stream.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.data.corpus import Corpus

RUN = 13
"""Words of an n-gram."""
WORD = re.compile(r"\w+")
SEED = 13

Numbers = NDArray[np.uint64]


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
        self._numbers: dict[str, int] = {}
        self._rng = np.random.default_rng(SEED)
        drawn = self._rng.integers(1, 2**63, RUN, dtype=np.uint64)
        self._factors: Numbers = drawn * np.uint64(2) + np.uint64(1)
        self._values: Numbers = np.zeros(1, dtype=np.uint64)  # number 0: words of no item
        self.owners: list[tuple[str, int]] = []
        runs, owners = [], []
        for name, group in texts.items():
            for index, text in enumerate(group):
                hashes = np.unique(self._runs_of(text, learn=True))
                runs.append(hashes)
                owners.append(np.full(len(hashes), len(self.owners)))
                self.owners.append((name, index))
        joined = np.concatenate(runs) if runs else np.empty(0, dtype=np.uint64)
        order = np.argsort(joined, kind="stable")
        self._runs = joined[order]
        self._owner_of = np.concatenate(owners)[order] if owners else np.empty(0, dtype=int)

    def find(self, text: str) -> set[int]:
        """Return the indices in `owners` of the texts that share a 13-gram with `text`."""
        if not len(self._runs):
            return set()
        hashes = np.unique(self._runs_of(text, learn=False))
        starts = np.searchsorted(self._runs, hashes, side="left")
        ends = np.searchsorted(self._runs, hashes, side="right")
        spans = zip(starts, ends, strict=True)
        return {int(owner) for start, end in spans for owner in self._owner_of[start:end]}

    def _runs_of(self, text: str, *, learn: bool) -> Numbers:
        words = WORD.findall(text.lower())
        if learn:
            for word in words:
                self._numbers.setdefault(word, len(self._numbers) + 1)
            missing = len(self._numbers) + 1 - len(self._values)
            drawn = self._rng.integers(1, 2**63, missing, dtype=np.uint64)
            self._values = np.concatenate([self._values, drawn])
        if len(words) < RUN:
            return np.empty(0, dtype=np.uint64)
        places = np.fromiter((self._numbers.get(word, 0) for word in words), np.intp, len(words))
        windows = np.lib.stride_tricks.sliding_window_view(places, RUN)
        windows = windows[(windows > 0).all(axis=1)]
        with np.errstate(over="ignore"):
            hashes: Numbers = (self._values[windows] * self._factors).sum(axis=1, dtype=np.uint64)
        return hashes


def _count_contamination(
    domain: str, documents: Iterable[str], texts: Mapping[str, Sequence[str]]
) -> list[Contamination]:
    index = RunIndex(texts)
    hits: set[int] = set()
    for document in documents:
        hits |= index.find(document)
    counts = []
    for name, group in texts.items():
        short = sum(len(WORD.findall(text)) < RUN for text in group)
        n_found = sum(index.owners[place][0] == name for place in hits)
        counts.append(Contamination(name, domain, len(group) - short, short, n_found))
    return counts


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
    overlaps = []
    for domain in documents:

        def build(scratch: Path, domain: str = domain) -> None:
            counts = _count_contamination(domain, documents[domain](), texts)
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
    too_short: dict[str, int] = {}
    for overlap in overlaps:
        if overlap.found:
            by_benchmark.setdefault(overlap.benchmark, []).append(overlap)
        if overlap.short and not overlap.items:
            too_short[overlap.benchmark] = overlap.short
    sentences = []
    if too_short:
        sentences.append(
            f"Items of {', '.join(map(repr, too_short))} are too short to be searched for in training "
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
