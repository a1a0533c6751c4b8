"""Subsets: a fraction of a benchmark's items that ranks candidates as all of them do.

What a merge scores on an item is close to what its experts' ensemble scores there, which costs no
forward pass. So the ensemble, the experts and the base are *control variates*: a candidate is
predicted on every item, scored on some, and what the prediction misses there is added (the
regression estimator of survey sampling: Särndal, Swensson & Wretman 1992, §6.4). Items are stratified
by what tells the experts apart, one is drawn from each stratum.

Shapes: `k` experts, `i` items, `s` scored items, `c` control variates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixopt.evaluation.scorer import Scorer
from mixopt.evaluation.tasks.base import Array, ItemResults, Request, Task
from mixopt.trials import Metric

FEWEST = 8
"""A benchmark of fewer items than this is scored whole."""
RIDGE = 1e-6
"""Keeps the regression solvable where control variates are the same."""

Places = NDArray[np.intp]


class SampledTask:
    """Some items of a task; a task itself.

    Args:
        task: The whole one.
        items: Places of the items that are kept (`s`).
    """

    def __init__(self, task: Task, items: Places) -> None:
        self._task, self.items = task, items
        self.metric: Metric = task.metric
        self.truncated = task.truncated
        bounds = np.array([*task.starts, len(task.requests)])
        ranges = [np.arange(bounds[item], bounds[item + 1]) for item in items]
        self._picked: Places = np.concatenate(ranges)
        self.requests: Sequence[Request] = [task.requests[int(place)] for place in self._picked]
        self.starts: Sequence[int] = np.cumsum([0, *map(len, ranges[:-1])]).tolist()

    @property
    def layout(self) -> tuple[object, ...]:
        """The whole task's, and the items."""
        return *self._task.layout, self.items.tolist()

    @property
    def loss_weights(self) -> Array:
        """The whole task's, of the requests that are kept."""
        return np.asarray(self._task.loss_weights[self._picked])

    def read(self, totals: Array) -> ItemResults:
        """Item results of the items that are kept."""
        padded = np.zeros(len(self._task.requests))
        padded[self._picked] = totals
        whole = self._task.read(padded)
        return ItemResults(whole.values[self.items], whole.sizes[self.items])


@dataclass(frozen=True)
class ItemSample:
    """The items of one benchmark that are scored.

    Attributes:
        items: Their places (`s`), rising.
        stands_for: How many items each stands for (`s`), itself included.
    """

    items: Places
    stands_for: Array

    @classmethod
    def stratified(cls, values: Array, sizes: Array, share: float, seed: int) -> "ItemSample":
        """One item out of each stratum of about 1/`share` items.

        Args:
            values: Item values of the experts (`k x i`); items in a row are alike in what tells the
                experts apart (their first principal component), and close in difficulty.
            sizes: Of the items (`i`).
            share: Of the items to score.
            seed: Of the draw.
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
        """Item results of all items (`i`), whose sums and errors are those of the estimate.

        Args:
            scored: Values of the scored items (`s`).
            predicted: Of all items (`i`).
            sizes: Of all items (`i`).
        """
        values = predicted.copy()
        values[self.items] += self.stands_for * (scored - predicted[self.items])
        return ItemResults(values, sizes)


def sample_items(tasks: Sequence[Task], experts: Sequence[dict[str, ItemResults]], share: float,
                 seed: int) -> tuple[Scorer, list[ItemSample]]:  # fmt: skip
    """A scorer of some items of each task, and which they are."""
    draws, parts = [], []
    for place, task in enumerate(tasks):
        results = [found[task.metric.name] for found in experts]
        values = np.stack([result.values for result in results])
        draw = ItemSample.stratified(values, results[0].sizes, share, seed + place)
        draws.append(draw)
        parts.append(SampledTask(task, draw.items))
    return Scorer(parts), draws


def compute_control_variates(
    weights: Sequence[float],
    ensemble: ItemResults,
    experts: Sequence[ItemResults],
    base: ItemResults,
) -> Array:
    """Control variates of each item (`i x c`) of the candidate at `weights` (`k`).

    Its ensemble's value, the experts' mean by its weights, the base's, and the item's size.
    """
    mean = np.tensordot(np.asarray(weights), np.stack([e.values for e in experts]), 1)
    return np.stack([ensemble.values, mean, base.values, ensemble.sizes], axis=1)


def fit_control_variates(controls: Sequence[Array], values: Sequence[Array]) -> Array:
    """Coefficients (`c`) by which controls (`i x c` each) predict values (`i` each)."""
    x, y = np.concatenate(list(controls)), np.concatenate(list(values))
    scale = np.maximum(np.abs(x).max(axis=0), 1e-12)
    x = x / scale
    gram = x.T @ x
    ridge = RIDGE * np.trace(gram) * np.eye(len(gram))
    return np.asarray(np.linalg.solve(gram + ridge, x.T @ y) / scale)
