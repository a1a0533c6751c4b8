"""The token budget of the target run, and the repetition caps that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixopt.errors import InfeasibleError
from mixopt.mixture import MixtureLike, as_mixture

REPETITION_TOLERANCE = 1e-6
"""Relative excess over a repetition cap that counts as rounding: optima lie on the caps."""
MAX_COUNT = 1e30
"""Largest number of tokens and repetitions that a file may state."""


@dataclass(frozen=True)
class Budget:
    """Tokens that the target run reads, and tokens that each domain has.

    Attributes:
        tokens: Tokens of the target run.
        available_tokens: Unique tokens by domain (`d`); a domain left out is not limited.
        max_repetition: Most times that a token of a domain may be read (1.0: once); a domain left
            out is not limited.
    """

    tokens: float
    available_tokens: Mapping[str, float] = field(default_factory=dict)
    max_repetition: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Budget":
        """Return the budget with these fields.

        Args:
            plain: The fields as `dataclasses.asdict` gives them, from an untrusted file.

        Raises:
            ValueError: A count of tokens is not above zero, or a limit is not a number.
        """
        caps = plain.get("max_repetition", {})
        budget = cls(plain["tokens"], plain.get("available_tokens", {}), caps)
        for where, number in (("tokens", budget.tokens), *budget.available_tokens.items()):
            if not isinstance(number, int | float) or not 0 < number < MAX_COUNT:
                raise ValueError(f"the budget's {where} is no count of tokens")
        for where, number in budget.max_repetition.items():
            if not isinstance(number, int | float) or not 0 <= number < MAX_COUNT:
                raise ValueError(f"the budget's max_repetition of {where} is no number")
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
            Repetitions by domain, for domains whose available tokens are known.
        """
        if not isinstance(ratios, Mapping):
            named = hasattr(ratios, "items")
            ratios = as_mixture(ratios, None if named else tuple(self.available_tokens))
        return {
            domain: ratio * self.tokens / self.available_tokens[domain]
            for domain, ratio in ratios.items()
            if self.available_tokens.get(domain)
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
