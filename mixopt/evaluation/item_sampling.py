"""Benchmark scores estimated from a sample of the items, with control variates.

A merge scores on an item about what its experts' ensemble scores, which needs no forward pass. So the
ensemble, the experts and the base serve as control variates: a candidate is predicted on every item,
scored on some, and the prediction is corrected by its errors there (regression estimator of survey
sampling: Särndal, Swensson & Wretman 1992, §6.4). Items are stratified by what distinguishes the
experts; one is drawn from each stratum. See docs/methods.md, section 2.7.

Shapes: `k` experts, `i` items, `s` sampled items, `c` control variates, `n` candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixopt.evaluation.engine import Weights
from mixopt.evaluation.evaluator import MergeEvaluator
from mixopt.evaluation.score_cache import CandidateScores, Results, Row, ScoreCache
from mixopt.evaluation.scored_items import Flat
from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import Array, ItemResults, Request, Task
from mixopt.executors.job import Job
from mixopt.trial import Metric

FEWEST = 8
"""Fewest sampled items of a benchmark; a smaller benchmark is scored in full."""
RIDGE = 1e-6
"""Ridge penalty, relative to the trace, for control variates that coincide."""

Indices = NDArray[np.intp]


class _SampledTask:
    def __init__(self, task: Task, items: Indices) -> None:
        self._task, self.items = task, items
        self.metric: Metric = task.metric
        self.truncated = task.truncated
        bounds = np.array([*task.starts, len(task.requests)])
        ranges = [np.arange(bounds[item], bounds[item + 1]) for item in items]
        self._picked: Indices = np.concatenate(ranges)
        self.requests: Sequence[Request] = [task.requests[int(place)] for place in self._picked]
        self.starts: Sequence[int] = np.cumsum([0, *map(len, ranges[:-1])]).tolist()

    @property
    def layout(self) -> tuple[object, ...]:
        return *self._task.layout, self.items.tolist()

    @property
    def loss_weights(self) -> Array:
        return np.asarray(self._task.loss_weights[self._picked])

    def read(self, totals: Array) -> ItemResults:
        padded = np.zeros(len(self._task.requests))
        padded[self._picked] = totals
        whole = self._task.read(padded)
        return ItemResults(whole.values[self.items], whole.sizes[self.items])


@dataclass(frozen=True)
class _ItemSample:
    items: Indices  # `s`, ascending
    stratum_sizes: Array  # `s`: items of the stratum that each was drawn from

    @classmethod
    def stratified(cls, values: Array, sizes: Array, share: float, seed: int) -> "_ItemSample":
        """Draw one item from each stratum of about 1/`share` items.

        Items are sorted by the first principal component of the experts' centered scores, then by mean
        score; strata are runs of them. `values` are the experts' (`k x i`), `sizes` the items' (`i`).
        """
        count = values.shape[1]
        wanted = max(min(count, FEWEST), round(share * count))
        rates = values / sizes
        apart = rates - rates.mean(axis=0)
        line = np.linalg.svd(apart, full_matrices=False)[2][0]
        order = np.lexsort((rates.mean(axis=0), line))
        rng = np.random.default_rng(seed)
        strata = np.array_split(order, wanted)
        items = np.array([rng.choice(stratum) for stratum in strata])
        rising = np.argsort(items)
        each = np.array([len(stratum) for stratum in strata], dtype=np.float64)
        return cls(items[rising], each[rising])

    def estimate(self, scored: Array, predicted: Array, sizes: Array) -> ItemResults:
        """Return results of all items (`i`), from the sampled ones (`s`) and predictions (`i`)."""
        values = predicted.copy()
        values[self.items] += self.stratum_sizes * (scored - predicted[self.items])
        return ItemResults(values, sizes)


def sample_items(tasks: Sequence[Task], experts: Sequence[dict[str, ItemResults]], share: float,
                 seed: int) -> tuple[Scorer, list[_ItemSample]]:  # fmt: skip
    """Draw a sample of each task's items.

    Args:
        tasks: Full tasks (`m`).
        experts: Results of each expert on all items, by benchmark (`k`).
        share: Share of the items to sample.
        seed: Seed of the first task's sample; the next task has the next seed.

    Returns:
        Scorer of the sampled items, and the sample of each task (`m`).
    """
    draws, parts = [], []
    for place, task in enumerate(tasks):
        results = [by_name[task.metric.name] for by_name in experts]
        values = np.stack([result.values for result in results])
        draw = _ItemSample.stratified(values, results[0].sizes, share, seed + place)
        draws.append(draw)
        parts.append(_SampledTask(task, draw.items))
    return Scorer(parts), draws


def _compute_control_variates(weights: Sequence[float], ensemble: ItemResults,
                              experts: Sequence[ItemResults], base: ItemResults) -> Array:  # fmt: skip
    """Return values of ensemble, weighted experts and base, and sizes of the items (`i x c`)."""
    mean = np.tensordot(np.asarray(weights), np.stack([e.values for e in experts]), 1)
    return np.stack([ensemble.values, mean, base.values, ensemble.sizes], axis=1)


def _fit_control_variates(controls: Sequence[Array], values: Sequence[Array]) -> Array:
    """Return coefficients (`c`) of a ridge regression of item values on control variates."""
    x, y = np.concatenate(list(controls)), np.concatenate(list(values))
    scale = np.maximum(np.abs(x).max(axis=0), 1e-12)
    x = x / scale
    gram = x.T @ x
    ridge = RIDGE * np.trace(gram) * np.eye(len(gram))
    return np.asarray(np.linalg.solve(gram + ridge, x.T @ y) / scale)


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
        self._scorers: dict[frozenset[str], Scorer] = {}
        merged = [evaluator.respond(row) for row in self._fitted_on]
        key = {**evaluator.items.cache.shared_key, "share": share, "seed": seed, "seen": merged}
        self.cache = ScoreCache(evaluator.store, "estimates", key, evaluator.scorer.digests)

    @property
    def flops_per_score(self) -> float:
        scorer = self.scorer_for([task.metric.name for task in self._drawn[0].tasks])
        return 2.0 * self._evaluator.facts.parameters * scorer.count_tokens()

    def prepare(self) -> None:
        self._evaluator.prepare()
        _ = self._base, self._experts

    def scorer_for(self, names: Sequence[str]) -> Scorer:
        key = frozenset(names)
        if key not in self._scorers:  # kept with its batches
            whole = self._evaluator.scorer
            kept = [t for t in self._drawn[0].tasks if t.metric.name in key]
            models = [t for t in whole.model_tasks if t.metric.name in key]
            self._scorers[key] = Scorer([*kept, *models], share_prompts=whole.share_prompts)
        return self._scorers[key]

    def needs_forward_pass(self, row: Row) -> bool:
        return True  # single experts were scored on other items

    def read(self, row: Row, names: Sequence[str], scorer: Scorer, flat: Flat) -> CandidateScores:
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
        arguments = (experts, self._fitted_on, self._share, self._seed, list(rows))
        return Job("estimate", arguments, name, tuple(map(self.cache.artifact, rows)))

    @cached_property
    def _experts(self) -> list[Results]:
        return [self._evaluator.score(one)["merged"] for one in np.eye(self._evaluator.k).tolist()]

    @cached_property
    def _base(self) -> Results:
        return self._evaluator.score_base()

    @cached_property
    def _drawn(self) -> tuple[Scorer, list[_ItemSample]]:
        return sample_items(self._evaluator.scorer.tasks, self._experts, self._share, self._seed)

    @cached_property
    def _coefficients(self) -> dict[str, Array]:
        results = [self._evaluator.score(row) for row in self._fitted_on]
        coefficients = {}
        for task in self._evaluator.scorer.tasks:
            name = task.metric.name
            controls = [
                self._controls(self._evaluator.respond(row), result["ensembled"], name)
                for row, result in zip(self._fitted_on, results, strict=True)
            ]
            values = [result["merged"][name].values for result in results]
            coefficients[name] = _fit_control_variates(controls, values)
        return coefficients

    def _controls(self, merged: Weights, ensemble: Results, name: str) -> Array:
        experts = [results[name] for results in self._experts]
        return _compute_control_variates(merged, ensemble[name], experts, self._base[name])
