"""Gradient ascent on a scorer with gradients of its own, without a surrogate.

Each evaluation is a merge, so evaluations are limited, not iterations.
See docs/methods.md, section 7.9. Shapes: `k` weights.
"""

from collections.abc import Callable

import numpy as np

from mixopt.mixture import Array
from mixopt.optimization.multistart import limits_of
from mixopt.optimization.weight_space import WeightSpace, hellinger
from mixopt.surrogates.minimize import minimize

TOLERANCE = 1e-4  # rise of the utility at which an ascent stops, in standard deviations
APART = 0.12  # Hellinger distance between starting points
LEAST_EACH = 4  # half of the fewest evaluations of one of several ascents

Objective = Callable[[Array], tuple[float, Array]]
"""Utility and its gradient (`k`) at weights (`k`)."""


class _SpentError(Exception):
    """All evaluations of an ascent are used."""


def ascend(score: Objective, space: WeightSpace, start: Array, *, evaluations: int) -> None:
    """Maximize `score` from one start by SLSQP. The results are what `score` records.

    Args:
        score: Utility (higher is better) and its gradient.
        space: Weights and the limits on their ratios.
        start: Feasible weights (`k`).
        evaluations: Most calls of `score`.
    """
    bounds, constraints = limits_of(space)
    left = evaluations

    def objective(weights: Array) -> tuple[float, Array]:
        nonlocal left
        if not left:
            raise _SpentError
        left -= 1
        # SLSQP may leave the simplex by its tolerance
        held = np.maximum(weights, 0.0)
        value, slopes = score(space.pull((held / held.sum())[None])[0])
        # the component that changes the sum of the weights is projected away
        return -value, -(slopes - slopes.mean())

    try:
        minimize(objective, start, method="SLSQP", bounds=bounds, steps=evaluations,
                 constraints=constraints, tolerance=TOLERANCE)  # fmt: skip
    except _SpentError:
        return


def choose_starts(space: WeightSpace, weights: Array, utilities: Array, n: int) -> Array:
    """Choose starts that are good and apart.

    Args:
        space: Weights and their ratios.
        weights: Scored weights (`? x k`).
        utilities: Their utilities.
        n: Most starts.

    Returns:
        The best weights that are further than `APART` from each other (at most `n x k`).
    """
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
    """Divide evaluations among one to three ascents.

    Args:
        evaluations: Of all ascents together.

    Returns:
        Evaluations of each ascent: at least `2 * LEAST_EACH` if there are several.
    """
    count = max(1, min(3, evaluations // (2 * LEAST_EACH)))
    return [evaluations // count + (place < evaluations % count) for place in range(count)]
