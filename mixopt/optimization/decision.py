"""The decision: train on a mixture, or stay with the natural one.

A user asks which mixture the next run should use, and whether it is better than what there is. Joint
draws of the real gain over natural answer both: the highest expected gain among mixtures that are likely
enough to beat natural, and natural where none is. See docs/methods.md, section 11.

Shapes: `q` mixtures, `n` draws, `d` domains.
"""

from dataclasses import dataclass

import numpy as np

from mixopt.decision import CHANCE
from mixopt.mixture import Array

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
