"""Candidates scored on a share of the items; control variates estimate the rest.

Shapes: `k` experts, `n` candidates, `c` control variates.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from mixopt.evaluation.engine import Weights
from mixopt.evaluation.evaluator import Flat, MergeEvaluator
from mixopt.evaluation.item_sampling import (
    ItemSample,
    compute_control_variates,
    fit_control_variates,
    sample_items,
)
from mixopt.evaluation.score_cache import CandidateScores, Results, Row, ScoreCache
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import Array
from mixopt.executors.job import Job


class SampledItems:
    """Scores candidates on a share of each benchmark's items.

    Args:
        evaluator: Scores whole benchmarks.
        fitted_on: Weights (`n x k`) of candidates that were scored on all items; how control variates
            predict a merge is fitted to them.
        share: Of the items.
        seed: Of the draw of items.
    """

    def __init__(
        self, evaluator: MergeEvaluator, fitted_on: Sequence[Weights], share: float, seed: int
    ) -> None:
        self._evaluator, self._share, self._seed = evaluator, share, seed
        self._fitted_on = [list(map(float, row)) for row in fitted_on]
        merged = [evaluator.respond(row) for row in self._fitted_on]
        key = {**evaluator.items.cache.shared_key, "share": share, "seed": seed, "seen": merged}
        self.cache = ScoreCache(evaluator.store, "estimates", key, evaluator.scorer.digests)

    @property
    def flops_per_score(self) -> float:
        """Floating-point operations of one forward pass over the drawn items."""
        return 2.0 * self._evaluator.facts.parameters * self._drawn[0].count_tokens()

    def prepare(self) -> None:
        """Have experts and base scored on all items."""
        self._evaluator.prepare()
        _ = self._base, self._experts

    def scorer_for(self, names: Sequence[str]) -> Scorer:
        """Return the scorer of the drawn items of some benchmarks."""
        kept = [t for t in self._drawn[0].tasks if t.metric.name in names]
        whole = [t for t in self._evaluator.scorer.model_tasks if t.metric.name in names]
        return Scorer([*kept, *whole])

    def needs_forward_pass(self, row: Row) -> bool:
        """Return True: single experts were scored on other items."""
        return True

    def read(self, row: Row, names: Sequence[str], scorer: Scorer, flat: Flat) -> CandidateScores:
        """Return the merge's estimated scores and the ensemble's at merged weights (`k`)."""
        ensemble = self._evaluator.scorer.read(self._evaluator.ensemble.mix(row))
        scored = scorer.read(flat)
        merged = {}
        for task, draw in zip(self._evaluator.scorer.tasks, self._drawn[1], strict=True):
            name = task.metric.name
            if name in scored:
                predicted = self._controls(row, ensemble, name) @ self._coefficients[name]
                merged[name] = draw.estimate(scored[name].values, predicted, ensemble[name].sizes)
        return CandidateScores({"merged": merged, "ensembled": ensemble}).restrict(names)

    def job(self, rows: Sequence[Row], experts: tuple[str, ...], name: str) -> Job:
        """Return the job of estimating candidates."""
        arguments = (experts, self._fitted_on, self._share, self._seed, list(rows))
        return Job("estimate", arguments, name, tuple(map(self.cache.artifact, rows)))

    @cached_property
    def _experts(self) -> list[Results]:
        return [self._evaluator.score(one)["merged"] for one in np.eye(self._evaluator.k).tolist()]

    @cached_property
    def _base(self) -> Results:
        return self._evaluator.score_base()

    @cached_property
    def _drawn(self) -> tuple[Scorer, list[ItemSample]]:
        return sample_items(self._evaluator.scorer.tasks, self._experts, self._share, self._seed)

    @cached_property
    def _coefficients(self) -> dict[str, Array]:
        """By benchmark: how control variates predict a merge's item values (`c`)."""
        results = [self._evaluator.score(row) for row in self._fitted_on]
        coefficients = {}
        for task in self._evaluator.scorer.tasks:
            name = task.metric.name
            controls = [
                self._controls(self._evaluator.respond(row), found["ensembled"], name)
                for row, found in zip(self._fitted_on, results, strict=True)
            ]
            values = [found["merged"][name].values for found in results]
            coefficients[name] = fit_control_variates(controls, values)
        return coefficients

    def _controls(self, merged: Weights, ensemble: Results, name: str) -> Array:
        """Return the control variates of a benchmark at merged weights (`k`)."""
        experts = [results[name] for results in self._experts]
        return compute_control_variates(merged, ensemble[name], experts, self._base[name])
