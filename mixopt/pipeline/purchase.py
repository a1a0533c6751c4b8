"""A run that a budget buys, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mixopt.decision import SPREADS
from mixopt.mixture import Mixture

RunKind = Literal["another candidate", "a longer run", "a further seed"]
"""What a run is beside those that its mixture has."""


@dataclass(frozen=True)
class Purchase:
    """A run that was chosen, and why.

    Attributes:
        ratios: Of the candidate.
        tokens: Length.
        seed: Seed.
        price: Tokens that it costs, with the natural run that it is compared with.
        value: By how much it is expected to raise the gain of the choice.
        kind: What it is beside the runs of the same mixture.
        unit: Of `value`, in the words that follow the number, as in `Decision.unit`.
        instead: The best run of another kind for its tokens; None without any.
    """

    ratios: Mixture
    tokens: int
    seed: int
    price: int
    value: float
    kind: RunKind = "another candidate"
    unit: str = SPREADS
    instead: "Purchase | None" = None

    @property
    def worth(self) -> float:
        """Value by token."""
        return self.value / self.price

    def describe(self) -> str:
        """Return the run in words, beside the best of another kind."""
        pair = (
            f", {self.price:,} with natural's run of that seed" if self.price > self.tokens else ""
        )
        return (
            f"train {self._named} for {self.tokens:,} tokens (seed {self.seed}{pair}), expected to "
            f"raise the gain by {self.value:.3f} {self.unit}{self._describe_other()}"
        )

    def _describe_other(self) -> str:
        other = self.instead
        if other is None:
            return ""
        return f"; {other.kind} of {other._named} by {other.value:.3f} for {other.price:,} tokens"

    @property
    def _named(self) -> str:
        largest = sorted(self.ratios.items(), key=lambda pair: -pair[1])[:3]
        digits = 0 if largest[0][1] >= 0.005 else 1  # of hundreds of domains none has a percent
        least = 0.5 * 10 ** -(digits + 2)
        return ", ".join(f"{r:.{digits}%} {name}" for name, r in largest if r >= least)


def kind_of(tokens: int, longest: int) -> RunKind:
    """Return what a run of a mixture is.

    Args:
        tokens: Its length.
        longest: Of the runs that the mixture has; 0 without any.
    """
    if not longest:
        return "another candidate"
    return "a longer run" if tokens > longest else "a further seed"


def pick_purchase(options: Sequence[Purchase]) -> tuple[int, Purchase]:
    """Return the index of the run that is worth most for its tokens, and that run with what is next.

    Args:
        options: Runs with their values; one or more.
    """
    best = max(range(len(options)), key=lambda place: options[place].worth)
    chosen = options[best]
    others = [each for each in options if each.kind != chosen.kind and each.value > 0]
    instead = max(others, key=lambda each: each.worth, default=None)
    return best, replace(chosen, instead=instead)
