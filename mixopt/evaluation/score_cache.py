"""Scores on disk: item results of candidates, kept by candidate and benchmark.

A unit holds what was scored together of one candidate. Benchmarks that were added, changed or failed are
scored alone, and what other units of the candidate say of the rest is taken from them.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from mixopt.artifacts.artifact import Unit
from mixopt.artifacts.code_versions import code_of
from mixopt.artifacts.store import ArtifactStore
from mixopt.evaluation.tasks.base import ItemResults
from mixopt.trials import KINDS, Kind

Results = dict[str, ItemResults]
"""Item results by benchmark."""
Row = tuple[float, ...]
"""Weights that are really merged (`k`)."""

LOSSES, ITEMS, PLACES = "losses.json", "items.npy", "items.json"


@dataclass(frozen=True)
class CandidateScores:
    """What is known of one candidate.

    Attributes:
        results: Item results by kind and benchmark.
        losses: Smooth loss of each benchmark that has one, where it was computed.
    """

    results: dict[Kind, Results] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)

    @property
    def benchmarks(self) -> set[str]:
        """Those that the merge was scored on."""
        return set(self.results.get("merged", {}))

    def restrict(self, names: Collection[str]) -> "CandidateScores":
        """What is known of some benchmarks."""
        return CandidateScores(
            {
                kind: {name: found for name, found in results.items() if name in names}
                for kind, results in self.results.items()
            },
            {name: loss for name, loss in self.losses.items() if name in names},
        )

    def joined(self, other: "CandidateScores") -> "CandidateScores":
        """Both, the other's word being last."""
        kinds = [*self.results, *(kind for kind in other.results if kind not in self.results)]
        return CandidateScores(
            {kind: self.results.get(kind, {}) | other.results.get(kind, {}) for kind in kinds},
            self.losses | other.losses,
        )

    def save(self, folder: Path) -> None:
        """Writes it into `folder`."""
        save_results(self.results, folder)
        (folder / LOSSES).write_text(json.dumps(self.losses))

    @classmethod
    def load(cls, folder: Path) -> "CandidateScores":
        """What `save` wrote."""
        return cls(load_results(folder), json.loads((folder / LOSSES).read_text()))


class ScoreCache:
    """The units of candidates' scores in a store.

    Args:
        store: Where they are kept.
        kind: Of the units: `scores`, `estimates`.
        key: What determines scores beside weights and benchmarks.
        digests: What determines the scores of each benchmark, in order.
    """

    def __init__(
        self, store: ArtifactStore, kind: str, key: Mapping[str, Any], digests: Mapping[str, str]
    ) -> None:
        self._store, self._kind, self._key, self.digests = store, kind, key, digests

    @property
    def shared_key(self) -> dict[str, Any]:
        """What determines the scores of all candidates."""
        return {**self._key, "benchmarks": self.digests}

    def key(self, row: Row, names: Collection[str] | None = None) -> dict[str, Any]:
        """What determines the scores of a candidate on some benchmarks, or on all."""
        told = {n: d for n, d in self.digests.items() if names is None or n in names}
        return {**self._key, "weights": list(row), "benchmarks": told}

    def unit(self, row: Row) -> tuple[str, str, dict[str, Any]]:
        """Kind, name and key of the unit of a candidate that was scored on all benchmarks."""
        return self._kind, self._name(row), self.key(row)

    def has(self, row: Row) -> bool:
        """Whether the scores of a candidate on all benchmarks are there."""
        return self._store.find(*self.unit(row)) is not None

    def find(self, row: Row) -> CandidateScores | None:
        """The scores of a candidate on all benchmarks, if they are there."""
        folder = self._store.find(*self.unit(row))
        return None if folder is None else self._in_order(CandidateScores.load(folder))

    def gather(self, row: Row, *, look: bool = False) -> CandidateScores:
        """What any units say of a candidate on these very benchmarks.

        Args:
            row: Its weights.
            look: For units that others have made since this process looked first.
        """
        known = CandidateScores()
        if not look and self._name(row) not in self._partial:
            return known
        for folder in self._store.find_all(self._kind, self._name(row)):
            unit = Unit.read(folder)
            told = {} if unit is None else unit.key.get("benchmarks", {})
            same = {name for name, digest in self.digests.items() if told.get(name) == digest}
            known = known.joined(CandidateScores.load(folder).restrict(same))
        return self._in_order(known)

    def make(
        self, row: Row, measure: Callable[[], tuple[CandidateScores, Exception | None]]
    ) -> None:
        """Keeps what `measure` finds of the benchmarks that were lacking, beside what was known.

        Raises:
            Exception: What some of them failed of; the others are kept before.
        """

        def build(scratch: Path) -> None:
            found, error = measure()
            whole = self.gather(row).joined(found)
            if error is not None:
                self._keep_part(row, whole)
                raise error
            whole.save(scratch)

        self._store.make(*self.unit(row), build)

    def _keep_part(self, row: Row, part: CandidateScores) -> None:
        if part.benchmarks:
            self._partial.add(self._name(row))
            name, key = self._name(row), self.key(row, part.benchmarks)
            self._store.make(self._kind, name, key, part.save)

    @cached_property
    def _partial(self) -> set[str]:
        """Names of candidates of which there may be units that do not know all benchmarks.

        Listed once: what this process makes in parts is added, and a folder that holds thousands of
        units is not listed for each.
        """
        return {folder.name.rpartition("-")[0] for folder in self._store.list_kind(self._kind)}

    def _in_order(self, scored: CandidateScores) -> CandidateScores:
        results: dict[Kind, Results] = {}
        for kind in KINDS:
            found = scored.results.get(kind)
            if found is not None:
                results[kind] = {name: found[name] for name in self.digests if name in found}
        return CandidateScores(results, scored.losses)

    def _name(self, row: Row) -> str:
        """What all units of one candidate are called."""
        told = json.dumps([code_of(self._kind), self._key, list(row)], sort_keys=True, default=str)
        return f"candidate-{hashlib.blake2b(told.encode(), digest_size=8).hexdigest()}"


def save_results(results: Mapping[Kind, Results], folder: Path) -> None:
    """Writes values and sizes of each item as one array, and beside it what they are of.

    A driver reads a unit for each candidate; an array for each benchmark would cost it milliseconds.
    """
    rows = [
        (kind, metric, found)
        for kind, by_metric in results.items()
        for metric, found in by_metric.items()
    ]
    values = [np.asarray([found.values, found.sizes], dtype=np.float64) for _, _, found in rows]
    np.save(folder / ITEMS, np.concatenate([np.empty((2, 0)), *values], axis=1))
    told = [[kind, metric, len(found.values)] for kind, metric, found in rows]
    (folder / PLACES).write_text(json.dumps(told))


def load_results(folder: Path) -> dict[Kind, Results]:
    """Item results by kind, as `save_results` wrote them."""
    results: dict[Kind, Results] = {}
    items, start = np.load(folder / ITEMS), 0
    for kind, metric, count in json.loads((folder / PLACES).read_text()):
        values, sizes = items[:, start : start + count]
        results.setdefault(cast(Kind, kind), {})[metric] = ItemResults(values, sizes)
        start += count
    return results


def as_row(weights: Sequence[float]) -> Row:
    """Weights that can be looked up."""
    return tuple(map(float, weights))


def in_shards(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """Rows in lists of at most `size`."""
    for start in range(0, len(rows), size):
        yield list(rows[start : start + size])
