"""The allowed mixture with the smallest loss, for losses with a gradient.

Shapes: `k` weights, `n` starts.
"""

from collections.abc import Callable

import numpy as np

from mixopt.mixture import Array
from mixopt.optimization.polytope import linear_constraints
from mixopt.optimization.weight_space import WeightSpace
from mixopt.surrogates.minimize import minimize

STEPS = 300
TOLERANCE = 1e-12
INSIDE = 0.05
"""Share of the way to the centre that each start moves: at a corner a divergence has no gradient."""

Loss = Callable[[Array], tuple[float, Array]]
"""Loss and its gradient (`k`) at weights (`k`)."""


def minimize_over(space: WeightSpace, loss: Loss, starts: Array) -> Array:
    """Return the allowed weights (`k`) with the smallest loss that SLSQP finds; exact if it is convex.

    Args:
        space: Limits.
        loss: Loss and gradient at weights.
        starts: Weights to start from (`n x k`); the ends are compared with them.
    """
    k = len(space.experts)
    constraints = list(linear_constraints(*space.limits))
    limit = space.space.max_kl
    if limit is not None:

        def room(weights: Array) -> float:
            return limit - space.divergence_and_gradient(weights)[0]

        def room_slopes(weights: Array) -> Array:
            return -space.divergence_and_gradient(weights)[1]

        constraints.append({"type": "ineq", "fun": room, "jac": room_slopes})
    ends = [*space.pull(starts)]
    for start in (1 - INSIDE) * np.stack(ends) + INSIDE * space.centre:
        end = minimize(loss, start, method="SLSQP", bounds=np.tile([0.0, 1.0], (k, 1)), steps=STEPS,
                       constraints=constraints, tolerance=TOLERANCE)  # fmt: skip
        if np.isfinite(end).all() and end.max() > 0:
            end = np.maximum(end, 0.0)
            ends.append(space.pull((end / end.sum())[None])[0])
    return min(ends, key=lambda weights: loss(weights)[0])


def divergence(ratios: Array, prior: Array) -> tuple[float, Array]:
    """Return the KL divergence of ratios (`k`) from a prior in nats, and its gradient.

    Args:
        ratios: A mixture.
        prior: The mixture that it is measured from; a ratio of at least 1e-12 is used for each domain.
    """
    known = np.maximum(prior, 1e-12)
    held = np.maximum(ratios, 1e-12)
    logs = np.log(held / (known / known.sum()))
    return float(held @ logs), logs + 1
