"""Overlap: benchmark items that share a run of 13 words with the text that experts are trained on.

Thirteen words in a row are seldom shared by chance (GPT-3's rule, arXiv:2005.14165, appendix C).
Words are compared in lower case and without punctuation. Only words of the items have a number, so
the corpus is read once, in a stream, whatever its size.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore
from mixopt.config.text import TextConfig
from mixopt.data.corpus import Corpus
from mixopt.data.sources import read_documents

RUN = 13
"""Words in a row."""
WORD = re.compile(r"\w+")
SEED = 13

Numbers = NDArray[np.uint64]


@dataclass(frozen=True)
class Contamination:
    """How many of a benchmark's items are in a domain's training text.

    Attributes:
        benchmark: Name.
        domain: Name.
        items: Items that are long enough to be looked for.
        short: Items of fewer words than a run, which cannot be.
        found: Items that share a run.
    """

    benchmark: str
    domain: str
    items: int
    short: int
    found: int


class RunIndex:
    """The runs of many texts, to be looked for in others.

    Args:
        texts: By name, the texts of each group.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        self._numbers: dict[str, int] = {}
        rng = np.random.default_rng(SEED)
        self._factors: Numbers = rng.integers(1, 2**63, RUN, dtype=np.uint64) * np.uint64(2) + (
            np.uint64(1)
        )
        self._draw = rng
        self._values: Numbers = np.zeros(1, dtype=np.uint64)  # number 0: a word of no item
        self.owners: list[tuple[str, int]] = []
        runs, owners = [], []
        for name, group in texts.items():
            for index, text in enumerate(group):
                found = np.unique(self._runs_of(text, learn=True))
                runs.append(found)
                owners.append(np.full(len(found), len(self.owners)))
                self.owners.append((name, index))
        joined = np.concatenate(runs) if runs else np.empty(0, dtype=np.uint64)
        order = np.argsort(joined, kind="stable")
        self._runs = joined[order]
        self._owner_of = np.concatenate(owners)[order] if owners else np.empty(0, dtype=int)

    def find(self, text: str) -> set[int]:
        """Places in `owners` of the texts that share a run with `text`."""
        if not len(self._runs):
            return set()
        found = np.unique(self._runs_of(text, learn=False))
        starts = np.searchsorted(self._runs, found, side="left")
        ends = np.searchsorted(self._runs, found, side="right")
        return {
            int(owner)
            for start, end in zip(starts, ends, strict=True)
            for owner in self._owner_of[start:end]
        }

    def _runs_of(self, text: str, *, learn: bool) -> Numbers:
        """A number for each run of known words."""
        words = WORD.findall(text.lower())
        if learn:
            for word in words:
                self._numbers.setdefault(word, len(self._numbers) + 1)
            lacking = len(self._numbers) + 1 - len(self._values)
            drawn = self._draw.integers(1, 2**63, lacking, dtype=np.uint64)
            self._values = np.concatenate([self._values, drawn])
        if len(words) < RUN:
            return np.empty(0, dtype=np.uint64)
        numbers = self._numbers
        places = np.fromiter((numbers.get(word, 0) for word in words), np.intp, len(words))
        windows = np.lib.stride_tricks.sliding_window_view(places, RUN)
        windows = windows[(windows > 0).all(axis=1)]
        with np.errstate(over="ignore"):
            hashes: Numbers = (self._values[windows] * self._factors).sum(axis=1, dtype=np.uint64)
        return hashes


def count_contamination(
    domain: str, documents: Iterable[str], texts: Mapping[str, Sequence[str]]
) -> list[Contamination]:
    """The overlap of each benchmark (`texts` by name) with a domain's documents."""
    index = RunIndex(texts)
    found: set[int] = set()
    for document in documents:
        found |= index.find(document)
    told = []
    for name, group in texts.items():
        short = sum(len(WORD.findall(text)) < RUN for text in group)
        hit = sum(index.owners[place][0] == name for place in found)
        told.append(Contamination(name, domain, len(group) - short, short, hit))
    return told


def measure_contamination(
    sources: Mapping[str, TextConfig],
    corpora: Mapping[str, Corpus],
    texts: Mapping[str, Sequence[str]],
    store: ArtifactStore,
) -> list[Contamination]:
    """The overlap of each benchmark with each domain's training text, counted once.

    Args:
        sources: Training text by domain.
        corpora: The same, tokenized: their folders tell one text from another.
        texts: The items' texts by benchmark.
        store: Where counts are kept.
    """
    told = hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()
    overlaps = []
    for domain, source in sources.items():

        def build(scratch: Path, domain: str = domain, source: TextConfig = source) -> None:
            documents = (document.text for document in read_documents(source))
            counted = [asdict(overlap) for overlap in count_contamination(domain, documents, texts)]
            (scratch / "overlap.json").write_text(json.dumps(counted, indent=2))

        key = {"corpus": corpora[domain].folder.name, "items": told}
        folder = store.get_or_build(Artifact("overlap", domain, key), build)
        counted = json.loads((folder / "overlap.json").read_text())
        overlaps += [Contamination(**row) for row in counted]
    return overlaps


def describe_contamination(overlaps: Iterable[Contamination]) -> list[str]:
    """What a reader should know: which benchmarks are in training text or too short to be looked for."""
    by_benchmark: dict[str, list[Contamination]] = {}
    blind: dict[str, int] = {}
    for overlap in overlaps:
        if overlap.found:
            by_benchmark.setdefault(overlap.benchmark, []).append(overlap)
        if overlap.short and not overlap.items:
            blind[overlap.benchmark] = overlap.short
    sentences = []
    if blind:
        sentences.append(
            f"Whether items of {_list(blind)} are in training text cannot be told: they have fewer "
            f"than {RUN} words."
        )
    if by_benchmark:
        counts = [f"{name} ({_counts(found)})" for name, found in by_benchmark.items()]
        sentences.append(
            f"Some items share a run of {RUN} words with training text: {'; '.join(counts)}. That part "
            "of a benchmark's score is memory; drop those documents or those items."
        )
    return sentences


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _counts(found: Sequence[Contamination]) -> str:
    items = found[0].items + found[0].short
    shares = ", ".join(f"{overlap.domain} {overlap.found}" for overlap in found)
    return f"of {items} items {shares}"
