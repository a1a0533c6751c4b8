"""Protocols of benchmark tasks, and the item results that they return.

A `Task` never sees a model: it gives the tokens to score after a context (`Request`) and turns their
log-probabilities into item results, for merges and for ensembles alike. A `ModelTask` needs a model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mixopt.data.tokenizer import first_token
from mixopt.trial import Metric

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Array = NDArray[np.float64]
LN2 = math.log(2)


@dataclass(frozen=True)
class Request:
    """Target tokens whose log-probabilities are requested, after context tokens.

    Attributes:
        context: Tokens that are read only.
        target: Tokens that are scored.
    """

    context: Sequence[int]
    target: Sequence[int]


@dataclass(frozen=True)
class ItemResults:
    """Results per item; a benchmark's score is Σ `values` ÷ Σ `sizes`.

    They are kept per item so that differences of models are paired and scores have standard errors.

    Attributes:
        values: Bits for bits per byte, 0 or 1 for accuracy (`i` items).
        sizes: Bytes for bits per byte, 1 for accuracy (`i`).
    """

    values: Array
    sizes: Array

    @property
    def score(self) -> float:
        """The benchmark's score."""
        return float(self.values.sum() / self.sizes.sum())

    @property
    def std_error(self) -> float:
        """Standard error of the score over items (see `ratio_std_error`)."""
        return ratio_std_error(self.values, self.sizes)

    def minus(self, other: "ItemResults") -> tuple[float, float]:
        """Return the difference of the scores on the same items, and its paired standard error."""
        difference = self.values - other.values
        return float(difference.sum() / self.sizes.sum()), ratio_std_error(difference, self.sizes)


def ratio_std_error(values: Array, sizes: Array) -> float:
    """Return the linearized standard error of Σ values ÷ Σ sizes (Cochran 1977, eq. 6.13).

    Args:
        values: By item (`i`).
        sizes: By item (`i`).
    """
    n = len(values)
    ratio = values.sum() / sizes.sum()
    residual = values - ratio * sizes
    return float(np.sqrt(n / (n - 1) * np.square(residual).sum()) / sizes.sum())


class Task(Protocol):
    """A benchmark that is scored from token log-probabilities.

    Attributes:
        metric: Name, direction and role of the score.
        requests: What is scored, item after item.
        starts: Index of the first request of each item (`i`).
        truncated: Number of items that were truncated to the model's context, the prompt from the left.
    """

    metric: Metric
    requests: Sequence[Request]
    starts: Sequence[int]
    truncated: int

    @property
    def layout(self) -> tuple[object, ...]:
        """What determines the results beside the requests: answers, sizes, starts of items."""

    @property
    def loss_weights(self) -> Array:
        """Weight of each request's total log-probability in a loss that is smooth in merge weights.

        The loss is in bits per byte, lower is better: the score itself where that is a loss, and a
        smooth substitute for scores with jumps (accuracy).
        """

    def read(self, totals: Array) -> ItemResults:
        """Return the results of the items (`i`).

        Args:
            totals: Log-probability of each request's target (nats).
        """


@runtime_checkable
class ModelTask(Protocol):
    """A benchmark that needs a whole model, to generate text or for lm-evaluation-harness.

    Attributes:
        metric: Name, direction and role of the score.
        truncated: Number of items that were truncated to the model's context.
    """

    metric: Metric
    truncated: int

    @property
    def layout(self) -> tuple[object, ...]:
        """What determines the results beside the model."""

    def measure(self, model: "PreTrainedModel") -> ItemResults:
        """Return item results of a model, which is left unchanged."""


@dataclass
class TaskContext:
    """What tasks need to encode items.

    Attributes:
        tokenizer: The base's tokenizer.
        context: Tokens per sequence.
        run_code: Whether programs written by models may be run.
        separator: Token that every sequence begins with.
    """

    tokenizer: "PreTrainedTokenizerBase"
    context: int
    run_code: bool = False
    separator: int = field(init=False)

    def __post_init__(self) -> None:
        self.separator = first_token(self.tokenizer)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of `text`, without special tokens."""
        encoded = self.tokenizer(text, add_special_tokens=False, verbose=False)
        return list(encoded["input_ids"])

    def request(self, prompt: str, target: str) -> tuple[Request, int, bool]:
        """Build the request that scores a target.

        Prompt and target are encoded together; a token across their border is scored with the target.
        A prompt that does not fit is truncated from the left, behind the separator. A target that does
        not fit is truncated at its end, and only the bytes that are scored are counted.

        Args:
            prompt: Text before the target; may be empty.
            target: Text that is scored.

        Returns:
            The request, the target's bytes, and whether it was truncated.
        """
        tokens, ends = self._encode_with_ends(prompt, target)
        start = next(i for i, end in enumerate(ends) if end > len(prompt))
        before, after = [self.separator, *tokens[:start]], tokens[start:]
        cut = len(before) + len(after) > self.context + 1
        after = after[: self.context]
        before = keep_end(before, max(1, self.context + 1 - len(after)))
        if self.tokenizer.is_fast:
            size = len(target[: ends[start + len(after) - 1] - len(prompt)].encode())
        else:
            size = len(target.encode()) - self._count_lost(tokens[start:], len(after))
        return Request(before, after), max(0, size), cut

    def _count_lost(self, tokens: list[int], kept: int) -> int:
        """Return the bytes of a text that are not in its first tokens, without the tokens' places."""
        if kept == len(tokens):
            return 0
        decode = partial(self.tokenizer.decode, clean_up_tokenization_spaces=False)
        return len(decode(tokens).encode()) - len(decode(tokens[:kept]).encode())

    def _encode_with_ends(self, prompt: str, target: str) -> tuple[list[int], list[int]]:
        if not self.tokenizer.is_fast:
            before, whole = self.encode(prompt), self.encode(prompt + target)
            inside = [len(prompt)] * min(len(before), len(whole) - 1)
            return whole, inside + [len(prompt + target)] * (len(whole) - len(inside))
        encoded = self.tokenizer(prompt + target, add_special_tokens=False, verbose=False,
                                 return_offsets_mapping=True)  # fmt: skip
        ends = [end for _, end in encoded["offset_mapping"]]
        return encoded["input_ids"], [*ends[:-1], len(prompt + target)]


def keep_end(tokens: list[int], room: int) -> list[int]:
    """Return the first token of a sequence, which the model expects there, and the last ones that fit.

    Args:
        tokens: The sequence.
        room: Tokens to keep, at least one.
    """
    return tokens if len(tokens) <= room else [tokens[0], *tokens[len(tokens) - room + 1 :]]


def describe_metric(config: Any, better: Any) -> Metric:
    """Return the metric that a benchmark's config describes.

    Args:
        config: Of the benchmark.
        better: `higher` or `lower`.
    """
    return Metric(name=config.name, better=better, capability=config.capability, role=config.role,
                  own_domain=config.own_domain)  # fmt: skip
