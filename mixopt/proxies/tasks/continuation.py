"""Bits per byte of a target given its prompt: a smooth stand-in for generation."""

import numpy as np

from mixopt.proxies.tasks import LN2, Array, ItemResults, Request, TaskContext, describe_metric
from mixopt.proxies.tasks.items import read_items, require_fields, require_text
from mixopt.proxies.tasks.prompting import Prompter, Row
from mixopt.recipe import Continuation


class ContinuationTask:
    """An item is a prompt and its target; only the target is scored.

    Raises:
        DataError: An item lacks its prompt or target.
    """

    def __init__(self, recipe: Continuation, context: TaskContext) -> None:
        self.metric = describe_metric(recipe, "lower")
        self.truncated = 0
        self.requests: list[Request] = []
        sizes = []

        def solve(row: Row, where: str) -> str:
            require_fields(row, [recipe.target_field], where)
            return require_text(row, recipe.target_field, where)

        prompter = Prompter(recipe, solve)
        for where, row in read_items(recipe, [*prompter.fields, recipe.target_field]):
            request, size, cut = context.request(prompter.write(row, where), solve(row, where))
            self.requests.append(request)
            self.truncated += cut
            sizes.append(size)
        self.starts = list(range(len(self.requests)))
        self._sizes = np.array(sizes, dtype=np.float64)

    @property
    def layout(self) -> tuple[object, ...]:
        """Bytes of each target."""
        return (self._sizes.tolist(),)

    def read(self, totals: Array) -> ItemResults:
        """Bits of each target."""
        return ItemResults(-totals / LN2, self._sizes)

    @property
    def loss_weights(self) -> Array:
        """The score itself: bits per byte."""
        return np.full(len(self.requests), -1 / LN2 / self._sizes.sum())
