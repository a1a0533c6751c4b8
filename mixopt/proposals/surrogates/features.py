"""What a linear model or a kernel sees of a mixture: r, √r or log r, and the slopes of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixopt.mixture import Array
from mixopt.proposals.surrogates.kernels import root_slope

SMALL_SHARE = 0.003
"""Added to a ratio before its logarithm, so that zero has one."""


@dataclass(frozen=True)
class Features:
    """A function of each ratio on its own: `values` and `slopes` map `n x d` to `n x d`."""

    values: Callable[[Array], Array]
    slopes: Callable[[Array], Array]


RATIOS = Features(lambda r: r, np.ones_like)
ROOTS = Features(np.sqrt, root_slope)
LOG_SHARES = Features(lambda r: np.log(r + SMALL_SHARE), lambda r: 1 / (r + SMALL_SHARE))
