"""Bits per byte of a target given its prompt: a smooth substitute for generation."""

from collections.abc import Iterable, Sequence

import numpy as np

from mixopt.config.benchmarks import ContinuationConfig
from mixopt.evaluation.tasks.base import (
    LN2,
    Array,
    ItemResults,
    Request,
    TaskContext,
    describe_metric,
)
from mixopt.evaluation.tasks.items import read_items, require_text
from mixopt.evaluation.tasks.prompt import Item, PromptBuilder
from mixopt.trial import Metric


class TargetTask:
    """An item is one request; its value is the target's bits and its size the target's bytes.

    Args:
        metric: The metric.
        built: Request, bytes of the target and whether it was truncated, for each item.
    """

    def __init__(self, metric: Metric, built: Iterable[tuple[Request, int, bool]]) -> None:
        self.metric = metric
        requests, sizes, cuts = zip(*built, strict=True)
        self.requests: Sequence[Request] = requests
        self.truncated = sum(cuts)
        self.starts = list(range(len(requests)))
        self._sizes = np.maximum(sizes, 1).astype(np.float64)

    @property
    def layout(self) -> tuple[object, ...]:
        return (self._sizes.tolist(),)

    def read(self, totals: Array) -> ItemResults:
        return ItemResults(-totals / LN2, self._sizes)

    @property
    def loss_weights(self) -> Array:
        return np.full(len(self.requests), -1 / LN2 / self._sizes.sum())


class ContinuationTask(TargetTask):
    """An item is a prompt and its target; only the target is scored.

    Args:
        config: Sets the file of items and their fields.
        context: Sets tokenizer and sequence length.

    Raises:
        DataError: An item lacks its prompt or target.
    """

    def __init__(self, config: ContinuationConfig, context: TaskContext) -> None:
        def solve(row: Item, where: str) -> str:
            return require_text(row, config.target_field, where)

        prompter = PromptBuilder(config, solve)
        built = (
            context.request(prompter.write(row, where), solve(row, where))
            for where, row in read_items(config)
        )
        super().__init__(describe_metric(config, "lower"), built)
