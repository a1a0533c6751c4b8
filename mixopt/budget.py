"""The budget: what the target run reads, what there is to read, and how often that may be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixopt.errors import InfeasibleError

TOLERANCE = 1e-6
"""Of a repetition above its cap: proposals lie on caps to rounding."""


LARGEST = 1e30
"""Of tokens and repetitions."""


@dataclass(frozen=True)
class Budget:
    """Tokens of the target run against those of each domain.

    Attributes:
        tokens: That the target run reads.
        available_tokens: Unique tokens by domain; a domain left out does not run out.
        max_repetition: How often a token of a domain may be seen (1.0: at most once); a domain left
            out may be read as often as it takes.
    """

    tokens: float
    available_tokens: Mapping[str, float] = field(default_factory=dict)
    max_repetition: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Budget":
        """The budget with these fields.

        Raises:
            ValueError: A count of tokens or a limit is no number above zero.
        """
        told = cls(
            plain["tokens"], plain.get("available_tokens", {}), plain.get("max_repetition", {})
        )
        for where, number in (("tokens", told.tokens), *told.available_tokens.items()):
            if not isinstance(number, int | float) or not 0 < number < LARGEST:
                raise ValueError(f"the budget's {where} is no count of tokens")
        for where, number in told.max_repetition.items():
            if not isinstance(number, int | float) or not 0 <= number < LARGEST:
                raise ValueError(f"the budget's max_repetition of {where} is no number")
        return told

    @property
    def caps(self) -> dict[str, float]:
        """The largest ratio of each domain that reads no token more often than it may be.

        Available tokens x highest repetition ÷ budget, at most 1 (the bound of Olmix and OLMo-core).
        """
        return {
            domain: min(1.0, tokens * self.max_repetition[domain] / self.tokens)
            for domain, tokens in self.available_tokens.items()
            if domain in self.max_repetition
        }

    def count(self, ratios: Mapping[str, float]) -> dict[str, float]:
        """How often the run sees a token of each domain under `ratios`, where that is known."""
        return {
            domain: ratio * self.tokens / self.available_tokens[domain]
            for domain, ratio in ratios.items()
            if self.available_tokens.get(domain)
        }

    def check(self, seen: Mapping[str, float]) -> None:
        """Raises `InfeasibleError` where a domain is `seen` more often than it may be."""
        for domain, times in seen.items():
            cap = self.max_repetition.get(domain)
            if cap is not None and times > cap * (1 + TOLERANCE):
                raise InfeasibleError(
                    f"{self.tokens:,.0f} tokens would read {domain!r} {times:.2f} times and at most "
                    f"{cap:g} is allowed; lower the budget, raise its max_repetition, or propose "
                    "again for this budget."
                )
