"""Shared base of tasks that score one text after its prompt, in bits per byte."""

from collections.abc import Iterable

import numpy as np

from mixopt.evaluation.tasks.base import LN2, Array, ItemResults, Request
from mixopt.trials import Metric


class TargetTask:
    """An item is one request; its value is the target's bits and its size the target's bytes.

    Args:
        metric: The metric.
        built: Request, bytes of the target and whether it was truncated, for each item.
    """

    def __init__(self, metric: Metric, built: Iterable[tuple[Request, int, bool]]) -> None:
        self.metric = metric
        self.truncated = 0
        self.requests: list[Request] = []
        sizes = []
        for request, size, cut in built:
            self.requests.append(request)
            sizes.append(max(1, size))
            self.truncated += cut
        self.starts = list(range(len(self.requests)))
        self._sizes = np.array(sizes, dtype=np.float64)

    @property
    def layout(self) -> tuple[object, ...]:
        """Bytes of each target."""
        return (self._sizes.tolist(),)

    def read(self, totals: Array) -> ItemResults:
        """Return the bits of each target."""
        return ItemResults(-totals / LN2, self._sizes)

    @property
    def loss_weights(self) -> Array:
        """The score itself: bits per byte."""
        return np.full(len(self.requests), -1 / LN2 / self._sizes.sum())
