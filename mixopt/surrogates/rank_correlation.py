"""Spearman's rank correlation and its confidence interval."""

import numpy as np
from scipy.stats import rankdata

from mixopt.mixture import Array
from mixopt.proposal import Z95


def spearman(first: Array, second: Array) -> float:
    """Spearman's rank correlation; NaN where a side is constant or fewer than three are finite."""
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 3:
        return float("nan")
    a, b = rankdata(first[known]), rankdata(second[known])
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def spearman_interval(rho: float, n: int) -> tuple[float, float]:
    """95% interval by Fisher's z with the variance (1 + ρ²/2)/(n − 3) of Bonett & Wright (2000).

    A perfect ranking of n has no width by that formula; it is taken half a swap of neighbours
    (Σd² = 1) away from perfect, because n mixtures cannot tell more than that.
    """
    if not np.isfinite(rho) or n < 4:
        return float("nan"), float("nan")
    most = 1 - 6 / (n * (n**2 - 1))
    z = np.arctanh(np.clip(rho, -most, most))
    half = Z95 * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return float(np.tanh(z - half)), float(np.tanh(z + half))
