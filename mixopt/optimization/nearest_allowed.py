"""The mixture that limits allow nearest to one that they may forbid.

Gains are stated over it where the reference itself cannot be trained on. See docs/methods.md, section
11.3. Shapes: `k` experts, `d` domains.
"""

import numpy as np

from mixopt.mixture import Array
from mixopt.optimization.weight_space import TINY, WeightSpace

TOLERANCE = 1e-6  # by which a mixture may miss a limit and count as allowed
INSIDE = 0.01  # share of the way to the centre at which the search starts


def nearest_allowed(space: WeightSpace, ratios: Array) -> Array:
    """Return a mixture (`d`), or the nearest one that the limits allow, by Hellinger's distance.

    Support and ties are measured by the same distance. The nearest mixture of least squares would give
    small domains nothing, or many times what they had.

    Args:
        space: The experts and the limits.
        ratios: The mixture (`d`).

    Raises:
        InfeasibleError: No weights of these experts meet the bounds.
    """
    if space.space.contains(ratios, tolerance=TOLERANCE)[0]:
        return ratios
    pulled = space.pull(space.weights_for(ratios)[0][None])[0]
    roots = np.sqrt(ratios)

    def apart(weights: Array) -> tuple[float, Array]:
        own = np.sqrt(np.maximum(space.composition.T @ weights, TINY))
        return 1 - float(roots @ own), -space.composition @ (roots / own) / 2

    # inside the limits, since the gradient is steep where a domain has nothing
    start = pulled + INSIDE * (space.centre - pulled)
    found = space.pull(space.minimize_within(apart, start)[None])[0]
    nearer = found if apart(found)[0] < apart(pulled)[0] else pulled
    return np.asarray(space.ratios(nearer[None])[0])
