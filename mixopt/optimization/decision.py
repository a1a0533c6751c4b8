"""The decision: train on a mixture, or stay with the natural one.

A user asks which mixture the next run should use, and whether it is better than what there is. Joint
draws of the real gain over natural answer both: the highest expected gain among mixtures that are likely
enough to beat natural, and natural where none is. See docs/methods.md, section 11.

Shapes: `q` mixtures, `n` draws, `d` domains.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from mixopt.mixture import Array

CHANCE = 0.8
"""Least probability of a positive gain at which a mixture is recommended."""
TIE = 0.02
"""Expected gains this close, in standard deviations of the utility, are ties."""


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
    taken; among ties the one nearest to what was trained. If no mixture is likely enough, natural is
    kept, and the mixture with the highest expected gain is shown beside it.

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
        moves=bool(len(likely)) and best > 0,
        ties=tuple(ties.tolist()),
    )


def expected_improvement(mean: Array, effects: Array) -> float:
    """Return by how much one observation raises the expected gain of the best choice.

    The knowledge gradient for correlated normal beliefs (Frazier, Powell & Dayanik 2009, algorithm 1):
    E[max_i (mean_i + effects_i·Z)] − max_i mean_i for a standard normal Z.

    Args:
        mean: Expected gains (`q`), natural's 0 among them.
        effects: Change of each mean by an observation one standard deviation above its mean (`q`).
    """
    order = np.lexsort((mean, effects))
    slopes, intercepts = effects[order], mean[order]
    # of equal slopes the highest line counts
    last = np.append(np.diff(slopes) > 0, True)
    slopes, intercepts = slopes[last], intercepts[last]
    upper = [0]
    crossings = [-np.inf]
    for line in range(1, len(slopes)):
        while True:
            top = upper[-1]
            crossing = (intercepts[top] - intercepts[line]) / (slopes[line] - slopes[top])
            if crossing > crossings[-1] or len(upper) == 1:
                break
            upper.pop()
            crossings.pop()
        upper.append(line)
        crossings.append(crossing)
    ends = np.array([*crossings[1:], np.inf])
    starts = np.array(crossings)
    probability = norm.cdf(ends) - norm.cdf(starts)
    moment = norm.pdf(starts) - norm.pdf(ends)
    value = intercepts[upper] @ probability + slopes[upper] @ moment
    return float(max(0.0, value - mean.max()))
