"""Mixtures and the space they are searched in: simplex arithmetic, bounds and caps.

Shapes: `d` domains, `n` mixtures.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixopt.errors import InfeasibleError, MixtureError, did_you_mean

Array = NDArray[np.float64]

SUM_TOLERANCE = 1e-6
"""How far a mixture's ratios may be from one: wider is a mistake, not rounding."""

BOUND_TOLERANCE = 1e-9
"""Slack when a ratio is compared with its bound, for sums in floating point."""


class Mixture(Mapping[str, float]):
    """A point on the simplex over named domains, in the order given.

    Read as *ratios* when tokens are drawn and as *weights* when parameters are merged.

    Raises:
        MixtureError: A ratio is negative or not finite, or they do not sum to one.
    """

    __slots__ = ("_ratios",)

    def __init__(self, ratios: Mapping[str, float]) -> None:
        values = {str(domain): float(ratio) for domain, ratio in ratios.items()}
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


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """The mixtures that may be proposed: bounds on each domain's ratio, and a prior.

    Attributes:
        domains: The `d` domains, whose order every vector follows.
        lower: Smallest ratio of a domain; 0 where none is given.
        upper: Largest ratio of a domain; 1 where none is given.
        prior: The natural mixture, around which candidates are drawn; uniform if not given.

    Raises:
        MixtureError: A bound names an unknown domain or lies outside [0, 1].
        InfeasibleError: The bounds cannot all hold.
    """

    domains: tuple[str, ...]
    lower: Mapping[str, float] = field(default_factory=dict)
    upper: Mapping[str, float] = field(default_factory=dict)
    prior: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "domains", tuple(self.domains))
        repeated = {name for name in self.domains if self.domains.count(name) > 1}
        if repeated or not self.domains:
            raise MixtureError(
                f"Domains must be named once each; repeated: {', '.join(sorted(repeated)) or '-'}."
            )
        for side, bounds in (("lower", self.lower), ("upper", self.upper)):
            for domain, bound in bounds.items():
                self._check_bound(side, domain, bound)
        self._check_feasible()
        if self.prior is not None:
            Mixture(self.prior).vector(self.domains)

    def _check_bound(self, side: str, domain: str, bound: float) -> None:
        if domain not in self.domains:
            raise MixtureError(
                f"The {side} bound of {domain!r} names no domain of this search. "
                f"{did_you_mean(domain, self.domains)}"
            )
        if not (np.isfinite(bound) and 0 <= bound <= 1):
            raise MixtureError(
                f"The {side} bound of {domain!r} is {bound:g}; bounds lie between 0 and 1."
            )

    def _check_feasible(self) -> None:
        low, high = self.bounds()
        crossed = [d for d, a, b in zip(self.domains, low, high, strict=True) if a > b]
        if crossed:
            name = crossed[0]
            raise InfeasibleError(
                f"Domain {name!r} must have at least {self.lower[name]:g} and may have at most "
                f"{self.upper[name]:g}; lower the one or raise the other."
            )
        if low.sum() > 1 + BOUND_TOLERANCE:
            named = ", ".join(f"{d} {a:g}" for d, a in zip(self.domains, low, strict=True) if a > 0)
            raise InfeasibleError(
                f"The lower bounds sum to {low.sum():.4g}, which is above 1 ({named}); lower some."
            )
        if high.sum() < 1 - BOUND_TOLERANCE:
            named = ", ".join(f"{d} {b:.4g}" for d, b in zip(self.domains, high, strict=True))
            raise InfeasibleError(
                f"The upper bounds sum to {high.sum():.4g}, which is below 1 ({named}); "
                "raise some, allow more repetition, or shrink the target's token budget."
            )

    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper bounds, `d` each."""
        low = np.array([float(self.lower.get(domain, 0.0)) for domain in self.domains])
        high = np.array([float(self.upper.get(domain, 1.0)) for domain in self.domains])
        return low, high

    def prior_vector(self) -> Array:
        """The prior mixture (`d`); uniform where none was given."""
        prior = Mixture.uniform(self.domains) if self.prior is None else Mixture(self.prior)
        return prior.vector(self.domains)

    def contains(
        self, ratios: ArrayLike, *, tolerance: float = BOUND_TOLERANCE
    ) -> NDArray[np.bool_]:
        """Which of the mixtures (`n x d`) meet every bound and sum to one (`n`)."""
        points = np.atleast_2d(np.asarray(ratios, dtype=np.float64))
        low, high = self.bounds()
        inside = np.all((points >= low - tolerance) & (points <= high + tolerance), axis=1)
        return np.asarray(inside & (np.abs(points.sum(axis=1) - 1) <= SUM_TOLERANCE))


def cap_by_repetition(
    available_tokens: Mapping[str, int],
    *,
    budget_tokens: int,
    max_repetition: float | Mapping[str, float],
) -> dict[str, float]:
    """The largest ratio of each domain that reads no token more than `max_repetition` times.

    A domain's cap is available tokens x highest repetition ÷ budget, at most 1 (the bound of
    Olmix and OLMo-core; a repetition of 1.0 means that each token is seen at most once).
    """
    caps = {}
    for domain, tokens in available_tokens.items():
        if isinstance(max_repetition, Mapping):
            repetition = max_repetition.get(domain, 1.0)
        else:
            repetition = max_repetition
        caps[domain] = min(1.0, tokens * repetition / budget_tokens)
    return caps


def count_repetition(
    ratios: Mapping[str, float], available_tokens: Mapping[str, int], *, budget_tokens: int
) -> dict[str, float]:
    """How often the target run would see a token of each domain under `ratios`."""
    return {
        domain: ratio * budget_tokens / available_tokens[domain]
        for domain, ratio in ratios.items()
        if available_tokens.get(domain)
    }
