"""A run that a budget buys, and why."""

from dataclasses import dataclass

from mixopt.mixture import Mixture


@dataclass(frozen=True)
class Purchase:
    """A run that was chosen, and why.

    Attributes:
        ratios: Of the candidate.
        tokens: Length.
        seed: Seed.
        price: Tokens that it costs, with the natural run that it is compared with.
        value: By how much it is expected to raise the gain of the choice.
    """

    ratios: Mixture
    tokens: int
    seed: int
    price: int
    value: float

    def describe(self) -> str:
        """Return the run in words."""
        largest = sorted(self.ratios.items(), key=lambda pair: -pair[1])[:3]
        digits = 0 if largest[0][1] >= 0.005 else 1  # of hundreds of domains none has a percent
        least = 0.5 * 10 ** -(digits + 2)
        named = ", ".join(f"{r:.{digits}%} {name}" for name, r in largest if r >= least)
        pair = (
            f", {self.price:,} with natural's run of that seed" if self.price > self.tokens else ""
        )
        return (
            f"train {named} for {self.tokens:,} tokens (seed {self.seed}{pair}), expected to raise the "
            f"gain by {self.value:.3f}"
        )
