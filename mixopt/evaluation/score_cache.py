"""Item results of candidates on disk, by weights and benchmark.

An artifact holds what was scored together for one candidate. A benchmark that was added, changed or
failed is scored alone, and the results of the others come from the candidate's other artifacts.

Shapes: `k` experts.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from mixopt.artifacts.artifact import Artifact, ArtifactRecord, hash_key
from mixopt.artifacts.code_versions import code_of
from mixopt.artifacts.store import ArtifactStore
from mixopt.evaluation.tasks.base import ItemResults
from mixopt.trial import KINDS, Kind

Results = dict[str, ItemResults]
"""Item results by benchmark."""
Row = tuple[float, ...]
"""Weights that are merged (`k`), hashable."""

LOSSES, ITEMS, LAYOUT = "losses.json", "items.npy", "items.json"


@dataclass(frozen=True)
class CandidateScores:
    """Results of one candidate.

    Attributes:
        results: Item results by kind of proxy and benchmark.
        losses: Smooth loss of each benchmark that has one, where it was computed.
    """

    results: dict[Kind, Results] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)

    @property
    def benchmarks(self) -> set[str]:
        """The benchmarks on which the merge was scored."""
        return set(self.results.get("merged", {}))

    def restrict(self, names: Collection[str]) -> "CandidateScores":
        """Return the results on some benchmarks."""
        losses = {name: loss for name, loss in self.losses.items() if name in names}
        results = {
            kind: {name: result for name, result in by_name.items() if name in names}
            for kind, by_name in self.results.items()
        }
        return CandidateScores(results, losses)

    def joined(self, other: "CandidateScores") -> "CandidateScores":
        """Return both; `other` takes precedence."""
        kinds = self.results | other.results
        results = {k: self.results.get(k, {}) | other.results.get(k, {}) for k in kinds}
        return CandidateScores(results, self.losses | other.losses)

    def save(self, folder: Path) -> None:
        """Write the scores into `folder`."""
        save_results(self.results, folder)
        (folder / LOSSES).write_text(json.dumps(self.losses))

    @classmethod
    def load(cls, folder: Path) -> "CandidateScores":
        """Return what `save` wrote."""
        return cls(load_results(folder), json.loads((folder / LOSSES).read_text()))


class ScoreCache:
    """The artifacts of candidates' scores.

    Args:
        store: Where they lie.
        kind: Of the artifacts: `scores`, `estimates`.
        key: What determines scores beside weights and benchmarks.
        digests: What determines the scores of each benchmark, in order.
    """

    def __init__(
        self, store: ArtifactStore, kind: str, key: Mapping[str, Any], digests: Mapping[str, str]
    ) -> None:
        self.store, self.kind, self._key, self.digests = store, kind, key, digests

    @property
    def shared_key(self) -> dict[str, Any]:
        """What determines the scores of all candidates."""
        return {**self._key, "benchmarks": self.digests}

    def artifact(self, row: Row, names: Collection[str] | None = None) -> Artifact:
        """Return the artifact of a candidate's scores on some benchmarks, or on all."""
        digests = {n: d for n, d in self.digests.items() if names is None or n in names}
        key = {**self._key, "weights": list(row), "benchmarks": digests}
        return Artifact(self.kind, self._name(row), key)

    def find(self, row: Row) -> CandidateScores | None:
        """Return the scores of a candidate on all benchmarks, if they exist."""
        folder = self.store.find(self.artifact(row))
        return None if folder is None else self._in_order(CandidateScores.load(folder))

    def gather(self, row: Row, *, refresh: bool = False) -> CandidateScores:
        """Return what any artifacts of a candidate say of these benchmarks.

        Args:
            row: The weights (`k`).
            refresh: Also look for artifacts that other processes have built since the first look.
        """
        known, name = CandidateScores(), self._name(row)
        listed = sorted(self._folders.get(name, ()))
        folders: Iterable[Path | None] = (
            self.store.find_at(f"{self.kind}/{one}") for one in listed
        )
        if refresh:
            folders = self.store.find_all(self.kind, name)
        elif not listed:
            return known
        own_key = hash_key(self.artifact(row, ()).full_key)
        for folder in folders:
            record = None if folder is None else ArtifactRecord.read(folder)
            if (
                folder is None
                or record is None
                or hash_key({**record.key, "benchmarks": {}}) != own_key
            ):
                continue  # of another candidate
            digests = record.key.get("benchmarks", {})
            same = {name for name, digest in self.digests.items() if digests.get(name) == digest}
            known = known.joined(CandidateScores.load(folder).restrict(same))
        return self._in_order(known)

    def missing(self, row: Row, *, refresh: bool = False) -> tuple[str, ...]:
        """Return the benchmarks on which a candidate has no score."""
        known = self.gather(row, refresh=refresh).benchmarks
        return tuple(name for name in self.digests if name not in known)

    def save(self, row: Row, scores: CandidateScores, folder: Path) -> None:
        """Write the scores of missing benchmarks, with those that were known, into `folder`."""
        self.gather(row).joined(scores).save(folder)

    def save_part(self, row: Row, scores: CandidateScores) -> None:
        """Keep the scores of some benchmarks, of a candidate that failed on others."""
        whole = self.gather(row).joined(scores)
        if whole.benchmarks:
            built = self.store.get_or_build(self.artifact(row, whole.benchmarks), whole.save)
            self._folders.setdefault(self._name(row), set()).add(built.name)

    @cached_property
    def _folders(self) -> dict[str, set[str]]:
        """The folders by candidate, listed once, as a kind may have thousands."""
        found: dict[str, set[str]] = {}
        for folder in self.store.list_kind(self.kind):
            found.setdefault(folder.name.rpartition("-")[0], set()).add(folder.name)
        return found

    def _in_order(self, scores: CandidateScores) -> CandidateScores:
        results = {
            kind: {n: scores.results[kind][n] for n in self.digests if n in scores.results[kind]}
            for kind in KINDS
            if kind in scores.results
        }
        return CandidateScores(results, scores.losses)

    def _name(self, row: Row) -> str:
        text = json.dumps([code_of(self.kind), self._key, list(row)], sort_keys=True, default=str)
        return f"candidate-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def save_results(results: Mapping[Kind, Results], folder: Path) -> None:
    """Write values and sizes of all items as one array, with a JSON file that says whose they are.

    A driver reads an artifact for each candidate; one array per benchmark would cost milliseconds.

    Args:
        results: Item results by kind of proxy and benchmark.
        folder: Receives the files.
    """
    rows = [
        (kind, metric, result)
        for kind, by_metric in results.items()
        for metric, result in by_metric.items()
    ]
    values = [np.asarray([result.values, result.sizes], dtype=np.float64) for *_, result in rows]
    np.save(folder / ITEMS, np.concatenate([np.empty((2, 0)), *values], axis=1))
    layout = [[kind, metric, len(result.values)] for kind, metric, result in rows]
    (folder / LAYOUT).write_text(json.dumps(layout))


def load_results(folder: Path) -> dict[Kind, Results]:
    """Read what `save_results` wrote.

    Args:
        folder: Folder of an artifact.

    Returns:
        Item results by kind of proxy and benchmark.
    """
    results: dict[Kind, Results] = {}
    items, start = np.load(folder / ITEMS), 0
    for kind, metric, count in json.loads((folder / LAYOUT).read_text()):
        values, sizes = items[:, start : start + count]
        results.setdefault(cast(Kind, kind), {})[metric] = ItemResults(values, sizes)
        start += count
    return results


def as_row(weights: Sequence[float]) -> Row:
    """Return weights as a hashable tuple of floats."""
    return tuple(map(float, weights))
