"""Shared base of tasks whose right choice should be the likeliest of several texts."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mixopt.config.benchmarks import BenchmarkConfig, ChoiceItemsConfig
from mixopt.evaluation.tasks.base import (
    LN2,
    Array,
    ItemResults,
    Request,
    TaskContext,
    describe_metric,
)
from mixopt.evaluation.tasks.items import read_answer, read_choices, read_items
from mixopt.evaluation.tasks.prompt import Item, PromptBuilder

Built = tuple[Request, int, bool]
"""A choice's request, its bytes, and whether it was truncated."""


@dataclass
class Choices:
    """The requests of all choices of all items, and the right ones.

    Attributes:
        requests: One per choice; those of an item are consecutive.
        lengths: Bytes by which a choice's log-likelihood is divided.
        starts: Index of the first request of each item.
        answers: Index of each item's right choice.
        truncated: Number of truncated items.
    """

    requests: list[Request] = field(default_factory=list)
    lengths: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    truncated: int = 0

    def add(self, built: list[Built], answer: int) -> None:
        """Add an item with its choices and the index of the right one."""
        self.starts.append(len(self.requests))
        self.requests += [request for request, _, _ in built]
        self.lengths += [max(1, size) for _, size, _ in built]
        self.answers.append(answer)
        self.truncated += any(cut for _, _, cut in built)

    @property
    def layout(self) -> tuple[object, ...]:
        """Answers, bytes of each choice, and first request of each item."""
        return self.answers, self.lengths, self.starts

    @property
    def right(self) -> NDArray[np.intp]:
        """Indices of the requests of the right choices."""
        return np.add(self.starts, self.answers, dtype=np.intp)

    def read(self, totals: Array) -> ItemResults:
        """Return 1 for items whose answer is likeliest per byte, else 0; ties count their share."""
        each = totals / np.array(self.lengths)
        counts = np.diff([*self.starts, len(self.requests)])
        best = each == np.repeat(np.maximum.reduceat(each, self.starts), counts)
        ties = np.add.reduceat(best.astype(float), self.starts)
        return ItemResults(best[self.right] / np.maximum(ties, 1), np.ones(len(ties)))

    @property
    def loss_weights(self) -> Array:
        """Bits per byte of the right choices, a smooth substitute for accuracy."""
        lengths = np.array(self.lengths)
        weights = np.zeros(len(self.requests))
        weights[self.right] = -1 / LN2 / lengths[self.right].sum()
        return weights


class ChoiceTask:
    """An item is right where its answer has the highest log-likelihood per byte.

    Args:
        config: The benchmark's config.
        items: Choices and index of the right one, for each item.
    """

    def __init__(self, config: BenchmarkConfig, items: Iterable[tuple[list[Built], int]]) -> None:
        self.metric = describe_metric(config, "higher")
        self._choices = Choices()
        for built, answer in items:
            self._choices.add(built, answer)
        self.requests, self.starts = self._choices.requests, self._choices.starts
        self.truncated = self._choices.truncated

    @property
    def layout(self) -> tuple[object, ...]:
        """Answers, bytes of each choice, and first request of each item."""
        return self._choices.layout

    def read(self, totals: Array) -> ItemResults:
        """Return 1 for items whose answer is likeliest per byte, else 0; ties count their share."""
        return self._choices.read(totals)

    @property
    def loss_weights(self) -> Array:
        """Bits per byte of the right choices."""
        return self._choices.loss_weights


def read_choice_items(config: ChoiceItemsConfig) -> list[tuple[str, str, list[str], int]]:
    """Read the items: position in the file, prompt, choices and answer.

    Raises:
        DataError: An item lacks a field, has fewer than two choices, an empty one, or an answer
            out of range.
    """

    def solve(row: Item, where: str) -> str:
        choices, answer = _read(config, row, where)
        return config.separator + choices[answer]

    prompter = PromptBuilder(config, solve)
    fields = [*prompter.fields, config.choices_field, config.answer_field]
    return [
        (where, prompter.write(row, where), *_read(config, row, where))
        for where, row in read_items(config, fields)
    ]


def _read(config: ChoiceItemsConfig, row: Item, where: str) -> tuple[list[str], int]:
    choices = read_choices(row, config.choices_field, where)
    return choices, read_answer(row, config.answer_field, len(choices), where)


def request_choice(context: TaskContext, prompt: str, separator: str, choice: str) -> Built:
    """Return a choice's request, the choice's bytes, and whether it was truncated."""
    gap = separator if prompt else ""
    request, size, cut = context.request(prompt, gap + choice)
    return request, size - len(gap.encode()), cut
