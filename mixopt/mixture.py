"""Mixtures: simplex arithmetic, and how often a budget repeats what there is.

Shapes: `d` domains.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixopt.errors import InfeasibleError, MixtureError, did_you_mean

Array = NDArray[np.float64]

Seed = int | np.random.Generator | None
"""What `np.random.default_rng` takes; a generator is used, and advanced, as it is."""

SUM_TOLERANCE = 1e-6
"""How far a mixture's ratios may be from one: wider is a mistake, not rounding."""


class Mixture(Mapping[str, float]):
    """A point on the simplex over named domains, in the order given.

    Read as *ratios* when tokens are drawn and as *weights* when parameters are merged.

    Raises:
        MixtureError: A ratio is negative or not finite, or they do not sum to one.
    """

    __slots__ = ("_ratios",)

    def __init__(self, ratios: Mapping[str, float]) -> None:
        try:
            values = {str(domain): float(ratio) for domain, ratio in ratios.items()}
        except OverflowError:
            raise MixtureError("A ratio is too large for a number; ratios sum to one.") from None
        if not values:
            raise MixtureError("A mixture needs at least one domain; none was given.")
        for domain, ratio in values.items():
            if not np.isfinite(ratio) or ratio < 0:
                raise MixtureError(
                    f"The ratio of {domain!r} is {ratio:g}; ratios are finite and not negative."
                )
        total = sum(values.values())
        if abs(total - 1) > SUM_TOLERANCE:
            raise MixtureError(
                f"The ratios of {', '.join(values)} sum to {total:.6g}, not to 1; "
                "mend them, or use Mixture.normalised where they are counts."
            )
        if abs(total - 1) <= len(values) * np.finfo(np.float64).eps:
            total = 1.0  # rounding alone: a mixture that is written and read again stays the same
        self._ratios = {domain: ratio / total for domain, ratio in values.items()}

    @classmethod
    def normalised(cls, amounts: Mapping[str, float]) -> "Mixture":
        """The mixture proportional to `amounts` (token counts, say).

        Raises:
            MixtureError: An amount is negative or not finite, or all of them are zero.
        """
        total = float(sum(amounts.values()))
        if not np.isfinite(total) or total <= 0:
            raise MixtureError(
                f"Amounts of {', '.join(amounts) or 'no domain'} sum to {total:g}; "
                "a mixture needs a positive sum."
            )
        return cls({domain: amount / total for domain, amount in amounts.items()})

    @classmethod
    def from_vector(cls, domains: Sequence[str], vector: ArrayLike) -> "Mixture":
        """The mixture whose ratios stand in `vector` (`d`) in the order of `domains`."""
        values = np.asarray(vector, dtype=np.float64)
        if values.shape != (len(domains),):
            raise MixtureError(
                f"{values.size} ratios were given for {len(domains)} domains; give one for each."
            )
        return cls(dict(zip(domains, values.tolist(), strict=True)))

    @classmethod
    def uniform(cls, domains: Sequence[str]) -> "Mixture":
        """The mixture with the same ratio for each of `domains`."""
        return cls.normalised(dict.fromkeys(domains, 1.0))

    def vector(self, domains: Sequence[str]) -> Array:
        """The ratios (`d`) in the order of `domains`; a domain the mixture lacks has 0.

        Raises:
            MixtureError: The mixture has a share in a domain that is not in `domains`.
        """
        for domain, ratio in self._ratios.items():
            if ratio > 0 and domain not in domains:
                raise MixtureError(
                    f"Domain {domain!r} is not one of this study's. {did_you_mean(domain, domains)}"
                )
        return np.array([self._ratios.get(domain, 0.0) for domain in domains])

    def __getitem__(self, domain: str) -> float:
        return self._ratios[domain]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ratios)

    def __len__(self) -> int:
        return len(self._ratios)

    def __hash__(self) -> int:
        return hash(frozenset(self._ratios.items()))

    def __repr__(self) -> str:
        inside = ", ".join(f"{domain}: {ratio:.4g}" for domain, ratio in self._ratios.items())
        return f"Mixture({inside})"


def apportion(quotas: ArrayLike, total: int, *, tolerance: float = 0.0) -> NDArray[np.int64]:
    """Return integers that sum to `total`, close to `quotas` (largest-remainder method).

    Args:
        quotas: Exact shares (`d`), which sum to `total`.
        total: Sum of the integers.
        tolerance: A quota that is less than this below an integer counts as that integer.
    """
    exact = np.asarray(quotas, dtype=np.float64)
    counts = np.floor(exact + tolerance).astype(np.int64)
    rest = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    return counts


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
