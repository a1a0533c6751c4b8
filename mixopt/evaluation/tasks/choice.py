"""Choosing: items whose right choice should be the likeliest of several texts."""

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
"""A choice's request, its bytes, and whether it was cut to fit the context."""


@dataclass
class Choices:
    """The requests of all choices of all items, and which are right.

    Attributes:
        requests: One for each choice, an item's together.
        lengths: Bytes by which a choice's log-likelihood is divided.
        starts: The request that each item begins with.
        answers: Index of each item's right choice.
        truncated: Items that were cut to fit the context.
    """

    requests: list[Request] = field(default_factory=list)
    lengths: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    truncated: int = 0

    def add(self, built: list[Built], answer: int) -> None:
        """Adds an item: request, bytes and whether it was cut, for each choice."""
        self.starts.append(len(self.requests))
        self.requests += [request for request, _, _ in built]
        self.lengths += [max(1, size) for _, size, _ in built]
        self.answers.append(answer)
        self.truncated += any(cut for _, _, cut in built)

    @property
    def layout(self) -> tuple[object, ...]:
        """Answers, bytes of each choice, and the request that each item begins with."""
        return self.answers, self.lengths, self.starts

    @property
    def right(self) -> NDArray[np.intp]:
        """The requests of the right choices."""
        return np.add(self.starts, self.answers, dtype=np.intp)

    def read(self, totals: Array) -> ItemResults:
        """1 for each item whose answer is most likely per byte, else 0; a tie counts its share."""
        each = totals / np.array(self.lengths)
        counts = np.diff([*self.starts, len(self.requests)])
        best = each == np.repeat(np.maximum.reduceat(each, self.starts), counts)
        ties = np.add.reduceat(best.astype(float), self.starts)
        return ItemResults(best[self.right] / np.maximum(ties, 1), np.ones(len(ties)))

    @property
    def loss_weights(self) -> Array:
        """Bits per byte of the right choices: what moves smoothly where accuracy jumps."""
        lengths = np.array(self.lengths)
        weights = np.zeros(len(self.requests))
        weights[self.right] = -1 / LN2 / lengths[self.right].sum()
        return weights


class ChoiceTask:
    """An item is right where its answer has the highest log-likelihood per byte.

    Args:
        recipe: The benchmark's.
        items: Of each item, its choices (request, bytes, whether cut) and the index of the right one.
    """

    def __init__(self, recipe: BenchmarkConfig, items: Iterable[tuple[list[Built], int]]) -> None:
        self.metric = describe_metric(recipe, "higher")
        self._choices = Choices()
        for built, answer in items:
            self._choices.add(built, answer)
        self.requests, self.starts = self._choices.requests, self._choices.starts
        self.truncated = self._choices.truncated

    @property
    def layout(self) -> tuple[object, ...]:
        """Answers, bytes of each choice, and the request that each item begins with."""
        return self._choices.layout

    def read(self, totals: Array) -> ItemResults:
        """1 for each item whose answer is most likely per byte, else 0; a tie counts its share."""
        return self._choices.read(totals)

    @property
    def loss_weights(self) -> Array:
        """Bits per byte of the right choices."""
        return self._choices.loss_weights


def read_choice_items(recipe: ChoiceItemsConfig) -> list[tuple[str, str, list[str], int]]:
    """Place, prompt, choices and answer of each item.

    Raises:
        DataError: An item lacks a field, has fewer than two choices, an empty one, or an answer
            out of range.
    """

    def solve(row: Item, where: str) -> str:
        choices, answer = _read(recipe, row, where)
        return recipe.separator + choices[answer]

    prompter = PromptBuilder(recipe, solve)
    fields = [*prompter.fields, recipe.choices_field, recipe.answer_field]
    return [
        (where, prompter.write(row, where), *_read(recipe, row, where))
        for where, row in read_items(recipe, fields)
    ]


def _read(recipe: ChoiceItemsConfig, row: Item, where: str) -> tuple[list[str], int]:
    choices = read_choices(row, recipe.choices_field, where)
    return choices, read_answer(row, recipe.answer_field, len(choices), where)


def request_choice(context: TaskContext, prompt: str, separator: str, choice: str) -> Built:
    """The request of a choice after its prompt, the bytes of the choice alone, and whether cut."""
    gap = separator if prompt else ""
    request, size, cut = context.request(prompt, gap + choice)
    return request, size - len(gap.encode()), cut
