"""The decision: train on a mixture, or stay with the natural one.

A user asks which mixture the next run should use, and whether it is better than what there is. Joint
draws of the real gain over natural answer both: the highest expected gain among mixtures that are likely
enough to beat natural, and natural where none is. See docs/methods.md, section 11.

Shapes: `q` mixtures, `n` draws, `d` domains.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from mixopt.decision import CHANCE
from mixopt.estimate import Estimate
from mixopt.mixture import Array

TIE = 0.02
"""Expected gains this close, in standard deviations of the utility, are ties."""

MANY_RUNS = 100  # runs above which no number is advised


@dataclass(frozen=True)
class Choice:
    """What to do.

    Attributes:
        candidate: Index of the best mixture, recommended or not.
        moves: Whether to train on it; natural is to be kept otherwise.
        ties: Indices of mixtures whose expected gain is within `TIE` of the best.
    """

    candidate: int
    moves: bool
    ties: tuple[int, ...]


def decide(draws: Array, distances: Array, *, chance: float = CHANCE, tie: float = TIE) -> Choice:
    """Choose among mixtures by joint draws of their gain.

    Of the mixtures with P(gain > 0) of at least `chance` the one with the highest expected gain is
    taken; among ties the one nearest to what was trained. If no mixture is likely enough, or if natural
    itself is a tie, natural is kept, and the best mixture is shown beside it.

    Args:
        draws: Gains over natural in standard deviations of the utility (`n x q`).
        distances: Distance of each mixture from natural or the nearest trained run (`q`).
        chance: Least probability of a positive gain.
        tie: Difference of expected gains that does not count.
    """
    expected, chances = draws.mean(axis=0), (draws > 0).mean(axis=0)
    likely = np.flatnonzero(chances >= chance)
    allowed = likely if len(likely) else np.arange(len(expected))
    best = expected[allowed].max()
    ties = allowed[expected[allowed] >= best - tie]
    return Choice(
        candidate=int(ties[np.argmin(distances[ties])]),
        moves=bool(len(likely) and best > tie),
        ties=tuple(ties.tolist()),
    )


def runs_needed(gain: Estimate, noise: float, seen: tuple[float, float] | None = None) -> float:
    """Return how many new runs each of two mixtures would make the chance of a gain reach `CHANCE`.

    The gain is taken to be what is expected of it now. The mean of `k` differences of such runs has the
    variance noise² / k around what they measure, and that tells of the gain by its covariance.

    Args:
        gain: What is known of it; its mean is positive.
        noise: Standard deviation of the difference of two runs.
        seen: Variance of what such runs measure and its covariance with the gain; left out where they
            measure the gain itself.

    Returns:
        A whole number, or infinity where no number of them is enough.
    """
    variance, wanted = gain.std_error**2, (gain.mean / float(ndtri(CHANCE))) ** 2
    if variance <= wanted:
        return 1
    measured, shared = (variance, variance) if seen is None else seen
    left = shared**2 / (variance - wanted) - measured
    if left <= 0:
        return float("inf")
    return max(1.0, float(np.ceil(noise**2 / left)))


def say_runs_needed(gain: Estimate, runs: float, reference: str, *, about: str, how: str) -> str:
    """Return the runs that are needed in words.

    Args:
        gain: As of `runs_needed`.
        runs: Number of new runs of each mixture.
        reference: Name of the mixture that the gain is over.
        about: Words before the number.
        how: Where the number comes from, and of what runs.
    """
    if runs > MANY_RUNS:
        about, runs = "more than", MANY_RUNS
    return (
        f"If the gain is {gain.mean:+.3f}, {about} {runs:.0f} new run{'s' * (runs > 1)} each of it and "
        f"of the {reference} mixture are needed to decide ({how})."
    )
