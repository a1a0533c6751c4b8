"""Spearman's rank correlation and its confidence interval."""

import numpy as np
from scipy.stats import rankdata

from mixopt.estimate import Z95
from mixopt.mixture import Array


def spearman(first: Array, second: Array) -> float:
    """Return Spearman's rank correlation.

    Not `scipy.stats.spearmanr`: it warns about constant input, and sums in another order, which
    changes the last digit of stored ranks.

    Args:
        first: Values (`n`).
        second: Values (`n`); pairs with a value that is not finite are left out.

    Returns:
        The correlation; NaN if a side is constant or fewer than three pairs are left.
    """
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 3:
        return float("nan")
    a, b = rankdata(first[known]), rankdata(second[known])
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def spearman_interval(rho: float, n: int) -> tuple[float, float]:
    """Return a 95% interval of Spearman's correlation.

    Fisher's z with the variance (1 + ρ²/2) / (n − 3) of Bonett & Wright (2000). A perfect ranking
    would have no width by that formula; ρ is limited to one swap of neighbors (Σd² = 2).

    Args:
        rho: The correlation of `n` pairs.
        n: Pairs that it is from.

    Returns:
        Lower and upper limit; NaN with fewer than four pairs.
    """
    if not np.isfinite(rho) or n < 4:
        return float("nan"), float("nan")
    most = 1 - 12 / (n * (n**2 - 1))
    z = np.arctanh(np.clip(rho, -most, most))
    half = Z95 * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return float(np.tanh(z - half)), float(np.tanh(z + half))
