"""Shared base of tasks whose right choice should be the likeliest of several texts."""

from collections.abc import Iterable

import numpy as np

from mixopt.config.benchmarks import ChoiceItemsConfig
from mixopt.evaluation.tasks.base import LN2, Array, ItemResults, Request, TaskContext
from mixopt.evaluation.tasks.items import read_choices, read_items
from mixopt.evaluation.tasks.prompt import Item, PromptBuilder
from mixopt.trial import Metric

Built = tuple[Request, int, bool]
"""A choice's request, its bytes, and whether it was truncated."""


class ChoiceTask:
    """An item is right where its answer has the highest log-likelihood per byte.

    Args:
        metric: The metric.
        items: Choices and index of the right one, for each item.

    Attributes:
        requests: One per choice; those of an item are consecutive.
        starts: Index of the first request of each item.
        truncated: Number of truncated items.
    """

    def __init__(self, metric: Metric, items: Iterable[tuple[list[Built], int]]) -> None:
        self.metric = metric
        self.requests: list[Request] = []
        self.starts: list[int] = []
        self.truncated = 0
        self._lengths: list[float] = []  # bytes by which a choice's log-likelihood is divided
        self._answers: list[int] = []
        for built, answer in items:
            self.starts.append(len(self.requests))
            self.requests += [request for request, _, _ in built]
            self._lengths += [max(1, size) for _, size, _ in built]
            self._answers.append(answer)
            self.truncated += any(cut for _, _, cut in built)
        self._right = np.add(self.starts, self._answers, dtype=np.intp)

    @property
    def layout(self) -> tuple[object, ...]:
        return self._answers, self._lengths, self.starts

    def read(self, totals: Array) -> ItemResults:
        # 1 for items whose answer is likeliest per byte, else 0; ties count their share
        each = totals / np.array(self._lengths)
        counts = np.diff([*self.starts, len(self.requests)])
        best = each == np.repeat(np.maximum.reduceat(each, self.starts), counts)
        ties = np.add.reduceat(best.astype(float), self.starts)
        return ItemResults(best[self._right] / np.maximum(ties, 1), np.ones(len(ties)))

    @property
    def loss_weights(self) -> Array:
        # bits per byte of the right choices, a smooth substitute for accuracy
        lengths = np.array(self._lengths)
        weights = np.zeros(len(self.requests))
        weights[self._right] = -1 / LN2 / lengths[self._right].sum()
        return weights


def read_choice_items(config: ChoiceItemsConfig) -> list[tuple[str, str, list[str], int]]:
    """Read the items of a benchmark with choices.

    Args:
        config: Its config.

    Returns:
        Position in the file, prompt, choices and index of the right one, for each item.

    Raises:
        DataError: An item lacks a field, has fewer than two choices, an empty one, or an answer
            out of range.
    """

    def solve(row: Item, where: str) -> str:
        choices, answer = read_choices(row, config, where)
        return config.separator + choices[answer]

    prompter = PromptBuilder(config, solve)
    return [
        (where, prompter.write(row, where), *read_choices(row, config, where))
        for where, row in read_items(config)
    ]


def request_choice(context: TaskContext, prompt: str, separator: str, choice: str) -> Built:
    """Build the request that scores one choice.

    Args:
        context: Tokenizer and sequence length.
        prompt: Text before the choice.
        separator: Text between them; left out where the prompt is empty.
        choice: The choice.

    Returns:
        The request, bytes of the choice without separator, and whether it was truncated.
    """
    gap = separator if prompt else ""
    request, size, cut = context.request(prompt, gap + choice)
    return request, size - len(gap.encode()), cut
