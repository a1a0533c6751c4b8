"""The token budget of the target run, and the repetition caps that follow from it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np

from mixopt.errors import ArgumentTypeError, InfeasibleError, UserError, require_number
from mixopt.mixture import MixtureLike, as_mixture

REPETITION_TOLERANCE = 1e-6
"""Relative excess over a repetition cap that counts as rounding: optima lie on the caps."""
MAX_COUNT = 1e30
"""Largest number of tokens and repetitions that a file may state."""
CLOSE = 0.75
"""Likeness (`difflib`) from which two names are one with a typing error."""


@dataclass(frozen=True)
class Budget:
    """Tokens that the target run reads, and tokens that each domain has.

    Attributes:
        tokens: Tokens of the target run.
        available_tokens: Unique tokens by domain (`d`); a domain left out is not limited.
        max_repetition: Most times that a token of a domain may be read (1.0: once); a domain left
            out is not limited.

    Raises:
        UserError: A number is negative or NaN, `tokens` is zero or infinite, or a limit names a domain
            whose tokens are given under another spelling.
        ArgumentTypeError: A value is no number.
    """

    tokens: float
    available_tokens: Mapping[str, float] = field(default_factory=dict)
    max_repetition: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_number("The budget's tokens", self.tokens)
        object.__setattr__(self, "tokens", _plain(self.tokens))
        if not self.tokens > 0:
            raise UserError(f"The budget's tokens is {self.tokens:g}; give a count above zero.")
        for name in ("available_tokens", "max_repetition"):
            given = getattr(self, name)
            if not hasattr(given, "items"):
                raise ArgumentTypeError(
                    f"The budget's {name} is a {type(given).__name__}; give a number by domain."
                )
            each = {key: _limit(f"{name} of {key}", value) for key, value in given.items()}
            object.__setattr__(self, name, each)
        self._check_names()

    def _check_names(self) -> None:
        """Refuse a limit that only a typing error keeps from its domain's tokens."""
        uncapped = {
            str(name).casefold(): name
            for name in self.available_tokens
            if name not in self.max_repetition
        }
        for name in self.max_repetition:
            if name in self.available_tokens:
                continue
            close = get_close_matches(str(name).casefold(), uncapped, n=1, cutoff=CLOSE)
            if close:
                raise UserError(
                    f"The budget's max_repetition of {name!r} is of no domain with available tokens; "
                    f"did you mean {uncapped[close[0]]!r}?"
                )

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Budget":
        """Return the budget with these fields.

        Args:
            plain: The fields as `dataclasses.asdict` gives them, from an untrusted file.

        Raises:
            ValueError: A number is negative, no number or too large, or `tokens` is zero.
        """
        caps = plain.get("max_repetition", {})
        budget = cls(plain["tokens"], plain.get("available_tokens", {}), caps)
        numbers = {"tokens": budget.tokens} | {
            f"{name} of {domain}": number
            for name in ("available_tokens", "max_repetition")
            for domain, number in getattr(budget, name).items()
        }
        for where, number in numbers.items():
            if not number < MAX_COUNT:
                raise ValueError(f"the budget's {where} is above {MAX_COUNT:g}")
        return budget

    @property
    def caps(self) -> dict[str, float]:
        """Largest ratio by domain that respects `max_repetition`.

        Available tokens x largest repetition ÷ budget, at most 1 (as in Olmix and OLMo-core).
        """
        return {
            domain: min(1.0, tokens * self.max_repetition[domain] / self.tokens)
            for domain, tokens in self.available_tokens.items()
            if domain in self.max_repetition
        }

    def count(self, ratios: MixtureLike) -> dict[str, float]:
        """Return how often the run reads a token of each domain.

        Args:
            ratios: The mixture; an array is in the order of `available_tokens`.

        Returns:
            Repetitions by domain, for domains whose available tokens are known; infinite where a
            domain without a token has a share.
        """
        if not isinstance(ratios, Mapping):
            named = hasattr(ratios, "items")
            ratios = as_mixture(ratios, None if named else tuple(self.available_tokens))
        return {
            domain: _divide(ratio * self.tokens, self.available_tokens[domain])
            for domain, ratio in ratios.items()
            if domain in self.available_tokens
        }

    def check(self, repetitions: Mapping[str, float]) -> None:
        """Check repetitions against `max_repetition`.

        Args:
            repetitions: Repetitions by domain, as `count` returns them.

        Raises:
            InfeasibleError: A domain is read more often than `max_repetition` allows.
        """
        for domain, times in repetitions.items():
            cap = self.max_repetition.get(domain)
            if cap is not None and times > cap * (1 + REPETITION_TOLERANCE):
                raise InfeasibleError(
                    f"{self.tokens:,.0f} tokens would read {domain!r} {times:.2f} times and at most "
                    f"{cap:g} is allowed; lower the budget, raise its max_repetition, or propose "
                    "again for this budget."
                )


def _limit(what: str, value: Any) -> float:
    """Return a number that may be infinite: no limit."""
    if not (isinstance(value, float | np.floating) and value == math.inf):
        number = require_number(f"The budget's {what}", value)
        if number < 0:
            raise UserError(
                f"The budget's {what} is {number:g}; give a number that is not negative."
            )
    return _plain(value)


def _plain(number: Any) -> float:
    """Return a number of NumPy as one of Python, which JSON takes."""
    plain: float = number.item() if isinstance(number, np.generic) else number
    return plain


def _divide(read: float, available: float) -> float:
    if available == 0:
        return math.inf if read > 0 else 0.0
    return read / available
