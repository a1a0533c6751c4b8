"""Bits per byte of the right choice: multiple choice without the jumps of accuracy."""

import numpy as np

from mixopt.proxies.tasks import LN2, Array, ItemResults, Request, TaskContext, describe_metric
from mixopt.proxies.tasks.choosing import read_choice_items, request_choice
from mixopt.recipe import ChoiceLoss


class ChoiceLossTask:
    """An item is the right choice given its prompt; the wrong ones are not scored.

    Raises:
        DataError: An item has fewer than two choices, an empty one, or an answer out of range.
    """

    def __init__(self, recipe: ChoiceLoss, context: TaskContext) -> None:
        self.metric = describe_metric(recipe, "lower")
        self.truncated = 0
        self.requests: list[Request] = []
        sizes = []
        for _, prompt, choices, answer in read_choice_items(recipe):
            built = request_choice(context, prompt, recipe.separator, choices[answer])
            self.requests.append(built[0])
            sizes.append(max(1, built[1]))
            self.truncated += built[2]
        self.starts = list(range(len(self.requests)))
        self._sizes = np.array(sizes, dtype=np.float64)

    @property
    def layout(self) -> tuple[object, ...]:
        """Bytes of each right choice."""
        return (self._sizes.tolist(),)

    def read(self, totals: Array) -> ItemResults:
        """Bits of each right choice."""
        return ItemResults(-totals / LN2, self._sizes)

    @property
    def loss_weights(self) -> Array:
        """The score itself: bits per byte."""
        return np.full(len(self.requests), -1 / LN2 / self._sizes.sum())
