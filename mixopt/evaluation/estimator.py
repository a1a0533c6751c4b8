"""Estimating: candidates scored on a share of the items, the rest told by control variates.

Shapes: `k` experts.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from mixopt.evaluation.candidates import Candidates, Flats
from mixopt.evaluation.engine import Engine, Weights
from mixopt.evaluation.evaluator import MergeEvaluator
from mixopt.evaluation.item_sampling import (
    ItemSample,
    compute_control_variates,
    fit_control_variates,
    sample_items,
)
from mixopt.evaluation.score_cache import CandidateScores, Results, Row, ScoreCache, as_row
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import Array
from mixopt.executors.job import Job
from mixopt.trials import Kind


class SampledEvaluator(Candidates):
    """Scores candidates on a share of each benchmark's items.

    Args:
        swarm: Scores whole benchmarks.
        seen: Weights (`k` each) of candidates that were scored whole; how control variates predict a
            merge is learnt from them.
        share: Of the items.
        seed: Of the draw of items.
    """

    def __init__(
        self, swarm: MergeEvaluator, seen: Sequence[Weights], share: float, seed: int
    ) -> None:
        self._swarm, self._seen = swarm, [list(map(float, row)) for row in seen]
        self._share, self._seed = share, seed
        merged = [swarm.respond(row) for row in self._seen]
        key = {**swarm.book.shared_key, "share": share, "seed": seed, "seen": merged}
        super().__init__(
            ScoreCache(swarm.store, "estimates", key, swarm.scorer.digests), swarm.crew, swarm.lost
        )

    @cached_property
    def _experts(self) -> list[Results]:
        return [self._swarm.score(corner)["merged"] for corner in np.eye(self._swarm.k).tolist()]

    @cached_property
    def _base(self) -> Results:
        return self._swarm.score_base()

    @cached_property
    def _drawn(self) -> tuple[Scorer, list[ItemSample]]:
        return sample_items(self._swarm.scorer.tasks, self._experts, self._share, self._seed)

    @cached_property
    def _coefficients(self) -> dict[str, Array]:
        """By benchmark: how control variates predict a merge's item values (`c`)."""
        found = [self._swarm.score(row) for row in self._seen]
        told = {}
        for task in self._swarm.scorer.tasks:
            name = task.metric.name
            controls = [
                self._controls(self._swarm.respond(row), results["ensembled"], name)
                for row, results in zip(self._seen, found, strict=True)
            ]
            told[name] = fit_control_variates(controls, [r["merged"][name].values for r in found])
        return told

    def _controls(self, merged: Weights, ensemble: Results, name: str) -> Array:
        """Control variates of a benchmark at weights that are really merged."""
        experts = [results[name] for results in self._experts]
        return compute_control_variates(merged, ensemble[name], experts, self._base[name])

    @property
    def flops_per_score(self) -> float:
        """Floating-point operations of one forward pass over what is scored."""
        return 2.0 * self._swarm.facts.parameters * self._drawn[0].count_tokens()

    def score_all(self, rows: Sequence[Weights]) -> Iterator[dict[Kind, Results]]:
        """Item results at each of `rows` (`k` each): the ensemble's in full, the merge's estimated."""
        for scored in self.score_rows([as_row(self._swarm.respond(row)) for row in rows]):
            yield scored.results

    @property
    def engine(self) -> Engine:
        """The swarm's."""
        return self._swarm.engine

    @property
    def together(self) -> bool:
        """As the swarm."""
        return self._swarm.together

    def prepare(self) -> None:
        """What estimates stand on: experts and base scored whole."""
        self._swarm.prepare()
        _ = self._base, self._experts

    def job(self, rows: Sequence[Row]) -> Job:
        """The job of estimating some rows."""
        told = f"{len(rows)} candidates" if len(rows) > 1 else "a candidate"
        drawn = (self._seen, self._share, self._seed)
        return Job("estimate", (self._swarm.names, *drawn, list(rows)), told)

    def restrict(self, names: Sequence[str]) -> Scorer:
        """A share of the items of each benchmark called `names`."""
        kept = [t for t in self._drawn[0].tasks if t.metric.name in names]
        asked = [t for t in self._swarm.scorer.model_tasks if t.metric.name in names]
        return Scorer([*kept, *asked])

    def needs_flat(self, row: Row) -> bool:
        """Always: an expert alone was scored on all items."""
        return True

    def read(self, row: Row, names: Sequence[str], flats: Flats) -> CandidateScores:
        """Estimates of the merge, and the ensemble's scores, at weights that are really merged."""
        ensemble = self._swarm.scorer.read(self._swarm.ensemble.mix(row))
        scored = flats.scorer.read(flats.of(row))
        merged = {}
        for task, draw in zip(self._swarm.scorer.tasks, self._drawn[1], strict=True):
            name = task.metric.name
            if name in scored:
                predicted = self._controls(row, ensemble, name) @ self._coefficients[name]
                merged[name] = draw.estimate(scored[name].values, predicted, ensemble[name].sizes)
        return CandidateScores({"merged": merged, "ensembled": ensemble}).restrict(names)
