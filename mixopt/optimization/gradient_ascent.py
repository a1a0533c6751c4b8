"""Ascending: a scorer whose slopes are known is climbed itself, without a surrogate between.

Each evaluation is a merge, so what is counted is evaluations, not steps.

Shapes: `k` weights.
"""

from collections.abc import Callable

import numpy as np

from mixopt.mixture import Array
from mixopt.optimization.multistart import limits_of
from mixopt.optimization.weight_space import WeightSpace, hellinger
from mixopt.surrogates.minimize import minimise

TOLERANCE = 1e-4
"""Rise of the utility below which an ascent has arrived, in standard deviations."""
APART = 0.12
"""Hellinger distance between starting points."""
LEAST_EACH = 4
"""Evaluations without which an ascent goes nowhere."""

Climbed = Callable[[Array], tuple[float, Array]]
"""Utility and its slopes (`k`) at weights (`k`)."""


class _SpentError(Exception):
    """The evaluations of an ascent are used up."""


def ascend(climbed: Climbed, space: WeightSpace, start: Array, *, evaluations: int) -> None:
    """Climbs from `start` (`k`) inside the space, by at most so many calls of `climbed`.

    The callee keeps what it is asked for: a call costs more than anything here.

    Args:
        climbed: Utility, higher better, and its slopes.
        space: Weights and the limits on their ratios.
        start: Feasible weights.
        evaluations: Calls at most.
    """
    bounds, constraints = limits_of(space)
    left = evaluations

    def objective(weights: Array) -> tuple[float, Array]:
        nonlocal left
        if not left:
            raise _SpentError
        left -= 1
        # an optimiser may be off the simplex by its tolerance
        held = np.maximum(weights, 0.0)
        value, slopes = climbed(space.pull((held / held.sum())[None])[0])
        # only what keeps the sum counts: the rest would be cut off anyway
        return -value, -(slopes - slopes.mean())

    try:
        minimise(objective, start, method="SLSQP", bounds=bounds, steps=evaluations,
                 constraints=constraints, tolerance=TOLERANCE)  # fmt: skip
    except _SpentError:
        return


def choose_starts(space: WeightSpace, weights: Array, utilities: Array, n: int) -> Array:
    """The best `n` of `weights` (`? x k`) by `utilities` that lie apart; fewer if there are not."""
    ratios = space.ratios(weights)
    chosen: list[int] = []
    for index in np.argsort(-utilities, kind="stable"):
        near = hellinger(ratios[index : index + 1], ratios[chosen]) if chosen else np.array([[1.0]])
        if np.isfinite(utilities[index]) and near.min() > APART:
            chosen.append(int(index))
        if len(chosen) == n:
            break
    return weights[chosen]


def divide(evaluations: int) -> list[int]:
    """Evaluations of each ascent: one from every start, few of them but none too short."""
    count = max(1, min(3, evaluations // (2 * LEAST_EACH)))
    return [evaluations // count + (place < evaluations % count) for place in range(count)]
