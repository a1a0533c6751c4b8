"""What a linear model or a kernel sees of a mixture: r, √r or log r, and the slopes of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.kernels import root_slope

SMALL_SHARE = 0.003
"""Added to a ratio before its logarithm, so that zero has one."""


@dataclass(frozen=True)
class Features:
    """A function of each ratio on its own: `values` and `slopes` map `n x d` to `n x d`."""

    values: Callable[[Array], Array]
    slopes: Callable[[Array], Array]


def _same(ratios: Array) -> Array:
    return ratios


def _ones(ratios: Array) -> Array:
    return np.ones_like(ratios)


def _log_share(ratios: Array) -> Array:
    return np.asarray(np.log(ratios + SMALL_SHARE))


def _log_share_slope(ratios: Array) -> Array:
    return np.asarray(1 / (ratios + SMALL_SHARE))


# functions with names: a surrogate is kept on disk by the names of what it is made of
RATIOS = Features(_same, _ones)
ROOTS = Features(np.sqrt, root_slope)
LOG_SHARES = Features(_log_share, _log_share_slope)
