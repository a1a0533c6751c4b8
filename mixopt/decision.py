"""The decision: which mixture to train on, and how likely it is to be better than the natural one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mixopt.estimate import Estimate, read_estimates
from mixopt.mixture import Mixture


@dataclass(frozen=True)
class Decision:
    """What to train on, and how likely it is to be better than the natural mixture.

    It is about one quantity: the gain of really training on a mixture for `tokens` over really
    training on the natural one. Scores of merges are evidence about it.

    Attributes:
        moves: Whether to train on the candidate; otherwise stay with the natural mixture.
        candidate: The best mixture other than natural.
        natural: The natural mixture; if the bounds forbid it, the nearest one that they allow.
        gain: Its gain, in the unit of the objective; the interval covers what the proxies miss.
        tokens: Tokens of training at which the gain is stated.
        runs: Number of really trained runs behind it.
        capabilities: Its gain by capability, in the same unit.
        differences: Its expected difference by metric, in the metric's units.
        confirmation: Its gain in unused seeds, which were trained at the end of a budget: evidence that
            no choice has seen, and part of `gain`.
    """

    moves: bool
    candidate: Mixture
    natural: Mixture
    gain: Estimate
    tokens: int
    runs: int
    capabilities: Mapping[str, Estimate] = field(default_factory=dict)
    differences: Mapping[str, Estimate] = field(default_factory=dict)
    confirmation: Estimate | None = None

    @property
    def ratios(self) -> Mixture:
        """The mixture to train on."""
        return self.candidate if self.moves else self.natural

    @property
    def verdict(self) -> str:
        """The decision in one sentence."""
        low, high = self.gain.interval
        what = f"gain {self.gain.mean:+.3f} at {self.tokens:,} tokens"
        span = f"{what}, 95% interval [{low:+.3f}, {high:+.3f}]"
        if self.moves:
            return f"{self.gain.chance:.0%} likely to be better than the natural mixture ({span})"
        return (
            f"stay with the natural mixture: the best other one is {self.gain.chance:.0%} likely to "
            f"be better ({span})"
        )

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Decision":
        """Return the decision whose attributes a mapping has.

        Args:
            plain: As `dataclasses.asdict` returns it.

        Raises:
            KeyError: An attribute is missing.
            ValueError: A value is not a number.
        """
        confirmed = plain.get("confirmation")
        return cls(
            moves=bool(plain["moves"]),
            candidate=Mixture(plain["candidate"]),
            natural=Mixture(plain["natural"]),
            gain=Estimate.from_dict(plain["gain"]),
            tokens=int(plain["tokens"]),
            runs=int(plain["runs"]),
            capabilities=read_estimates(plain.get("capabilities", {})),
            differences=read_estimates(plain.get("differences", {})),
            confirmation=Estimate.from_dict(confirmed) if confirmed else None,
        )
