"""Multiple choice by length-normalised log-likelihood of each choice's text."""

from typing import Any

import numpy as np

from mixopt.errors import DataError
from mixopt.proxies.tasks import LN2, Array, ItemResults, Request, TaskContext, describe_metric
from mixopt.proxies.tasks.items import read_items, require_text
from mixopt.recipe import MultipleChoice


class MultipleChoiceTask:
    """An item is right where its answer has the highest log-likelihood per byte (acc_norm).

    Raises:
        DataError: An item has fewer than two choices, an empty one, or an answer out of range.
    """

    def __init__(self, recipe: MultipleChoice, context: TaskContext) -> None:
        self.metric = describe_metric(recipe, "higher")
        self.truncated = 0
        self.requests: list[Request] = []
        self._answers: list[int] = []
        self._starts = [0]
        lengths: list[int] = []
        fields = [recipe.prompt_field, recipe.choices_field, recipe.answer_field]
        for where, row in read_items(recipe, fields):
            prompt = require_text(row, recipe.prompt_field, where, empty=True)
            choices = _read_choices(row[recipe.choices_field], where)
            self._answers.append(_read_answer(row[recipe.answer_field], len(choices), where))
            gap = recipe.separator if prompt else ""
            built = [context.request(prompt, gap + choice) for choice in choices]
            self.requests += [request for request, _, _ in built]
            self.truncated += any(cut for _, _, cut in built)
            lengths += [max(1, size - len(gap.encode())) for _, size, _ in built]
            self._starts.append(len(self.requests))
        self._lengths = np.array(lengths, dtype=np.float64)

    @property
    def layout(self) -> tuple[object, ...]:
        """Answers, bytes of each choice, and the request that each item begins with."""
        return self._answers, self._lengths.tolist(), self._starts

    def read(self, totals: Array) -> ItemResults:
        """1 for each item whose answer is most likely per byte, else 0; a tie counts its share."""
        each = totals / self._lengths
        starts = np.array(self._starts[:-1])
        counts = np.diff(self._starts)
        best = each == np.repeat(np.maximum.reduceat(each, starts), counts)
        right = best[starts + np.array(self._answers)] / np.add.reduceat(best.astype(float), starts)
        return ItemResults(right, np.ones(len(right)))

    @property
    def loss_weights(self) -> Array:
        """Bits per byte of the right choices: what moves smoothly where accuracy jumps."""
        right = np.array(self._starts[:-1]) + np.array(self._answers)
        weights = np.zeros(len(self.requests))
        weights[right] = -1 / LN2 / self._lengths[right].sum()
        return weights


def _read_choices(choices: Any, where: str) -> list[str]:
    if not isinstance(choices, list) or len(choices) < 2:
        raise DataError(f"{where}: an item needs a list of at least two choices.")
    for choice in choices:
        if not isinstance(choice, str) or not choice:
            raise DataError(f"{where}: a choice is empty or no text; mend or drop the item.")
    return choices


def _read_answer(answer: Any, count: int, where: str) -> int:
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < count:
        raise DataError(
            f"{where}: the answer is {answer!r}, but must be the index of one of {count} choices "
            f"(0 to {count - 1})."
        )
    return answer
