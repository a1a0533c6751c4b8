"""Elementwise transforms of the ratios (r, √r, log r) and their derivatives."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.kernels import sqrt_derivative

LOG_OFFSET = 0.003  # added to a ratio before its logarithm, so that log r is finite at r = 0

FeatureName = Literal["identity", "sqrt", "log"]


class Features(NamedTuple):
    """An elementwise transform: `values` and `derivative` map `n x d` to `n x d`."""

    values: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


# models store the key, not the functions: a file of a fitted surrogate names no function
FEATURES: Mapping[FeatureName, Features] = {
    "identity": Features(lambda ratios: ratios, np.ones_like),
    "sqrt": Features(np.sqrt, sqrt_derivative),
    "log": Features(lambda r: np.log(r + LOG_OFFSET), lambda r: 1 / (r + LOG_OFFSET)),
}


def scale_features(name: FeatureName, spread: Array) -> Array:
    """Return the divisors of features (`d`) that make domains comparable.

    On √r all domains have one scale, the root mean square of their spreads, since a step in √r is the
    same Hellinger distance in every domain. With a scale of its own, a domain that hardly varied would
    have a huge leverage. Other features have the spread of each domain.

    Args:
        name: The transform.
        spread: Standard deviation of each feature over the runs (`d`).
    """
    if name == "sqrt":
        spread = np.full(len(spread), np.sqrt(np.square(spread).mean()))
    return np.where(spread > 1e-12, spread, 1.0)
