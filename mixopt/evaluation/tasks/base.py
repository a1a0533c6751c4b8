"""Kinds of benchmark: each turns items into tokens to score, and token scores into item results.

A task never sees a model. It says which tokens are scored after which context (`Request`), and
reads the log-probabilities back; the merge and the ensemble therefore share every line of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mixopt.trials import Metric

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Array = NDArray[np.float64]
LN2 = math.log(2)


@dataclass(frozen=True)
class Request:
    """Tokens whose log-probabilities are wanted, after a context that is only read."""

    context: Sequence[int]
    target: Sequence[int]


@dataclass(frozen=True)
class ItemResults:
    """Per-item results: a benchmark's score is Σ `values` ÷ Σ `sizes` over its items.

    For bits per byte a value is bits and a size is bytes; for accuracy a value is 0 or 1 and a
    size is 1. Kept per item, so that differences are paired and every score has an error.
    """

    values: Array
    sizes: Array

    @property
    def score(self) -> float:
        """The benchmark's score."""
        return float(self.values.sum() / self.sizes.sum())

    @property
    def std_error(self) -> float:
        """Standard error of the score over items (ratio estimator, linearised)."""
        return ratio_std_error(self.values, self.sizes)

    def minus(self, other: "ItemResults") -> tuple[float, float]:
        """Difference of the scores on the same items, and its paired standard error."""
        difference = self.values - other.values
        return float(difference.sum() / self.sizes.sum()), ratio_std_error(difference, self.sizes)


def ratio_std_error(values: Array, sizes: Array) -> float:
    """Standard error of Σ values ÷ Σ sizes over independent items (Cochran 1977, eq. 6.13)."""
    n = len(values)
    ratio = values.sum() / sizes.sum()
    residual = values - ratio * sizes
    return float(np.sqrt(n / (n - 1) * np.square(residual).sum()) / sizes.sum())


class Task(Protocol):
    """One benchmark that is scored by the probabilities of tokens."""

    metric: Metric
    requests: Sequence[Request]
    starts: Sequence[int]
    """The request that each item begins with."""
    truncated: int
    """Items that were cut to fit the model's context: the prompt from the left."""

    @property
    def layout(self) -> tuple[object, ...]:
        """What, besides the requests, decides the results: answers, sizes, borders of items."""

    @property
    def loss_weights(self) -> Array:
        """What makes a loss that is smooth in the weights of merges: Σ weight · total per request.

        In bits per byte, lower is better. It is the score itself where that is a loss, and goes
        with it where the score jumps (accuracy).
        """

    def read(self, totals: Array) -> ItemResults:
        """Item results from the natural log-probability of each request's target."""


@runtime_checkable
class ModelTask(Protocol):
    """One benchmark that needs a whole model: what it writes, or what a harness makes of it."""

    metric: Metric
    truncated: int

    @property
    def layout(self) -> tuple[object, ...]:
        """What decides the results beside the model."""

    def measure(self, model: "PreTrainedModel") -> ItemResults:
        """Item results of a model, which is left as it was."""


@dataclass
class TaskContext:
    """What a task needs to turn items into tokens.

    Attributes:
        tokenizer: The base's.
        context: Tokens per sequence.
        run_code: Whether programs that models write may be run.
    """

    tokenizer: "PreTrainedTokenizerBase"
    context: int
    run_code: bool = False
    separator: int = field(init=False)

    def __post_init__(self) -> None:
        token = self.tokenizer.bos_token_id
        self.separator = int(self.tokenizer.eos_token_id if token is None else token)

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`, without special ones."""
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        return tokens

    def request(self, prompt: str, target: str) -> tuple[Request, int, bool]:
        """The request that scores `target` after `prompt`, its bytes, and whether it was cut.

        Prompt and target are encoded together, because a token may lie across their border: it
        is scored with the target. A prompt that does not fit is cut from the left; a target that
        alone does not fit is cut at its end, and only the bytes that are scored are counted.
        """
        tokens, ends = self._encode_with_ends(prompt, target)
        start = next(i for i, end in enumerate(ends) if end > len(prompt))
        before, after = [self.separator, *tokens[:start]], tokens[start:]
        cut = len(before) + len(after) > self.context + 1
        after = after[: self.context]
        before = before[-max(1, self.context + 1 - len(after)) :]
        scored = target[: ends[start + len(after) - 1] - len(prompt)]
        return Request(before, after), len(scored.encode()), cut

    def _encode_with_ends(self, prompt: str, target: str) -> tuple[list[int], list[int]]:
        """Tokens of prompt and target together, and where each ends, in characters."""
        if not self.tokenizer.is_fast:
            before, whole = self.encode(prompt), self.encode(prompt + target)
            inside = [len(prompt)] * min(len(before), len(whole) - 1)
            return whole, inside + [len(prompt + target)] * (len(whole) - len(inside))
        encoded = self.tokenizer(
            prompt + target, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        ends = [end for _, end in encoded["offset_mapping"]]
        return encoded["input_ids"], [*ends[:-1], len(prompt + target)]


def describe_metric(recipe: Any, better: Any) -> Metric:
    """The metric that a benchmark's recipe measures."""
    return Metric(
        name=recipe.name,
        better=better,
        capability=recipe.capability,
        role=recipe.role,
        own_domain=recipe.own_domain,
    )
