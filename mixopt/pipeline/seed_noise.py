"""The noise of training: how much scores and gains differ by the seed alone.

Shapes: `m` metrics, `n` runs.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from mixopt.mixture import Array
from mixopt.surrogates.gain_model import SAME, Runs

USUAL_NOISE = 0.37
"""Standard deviation of a difference between seeds where none were run, in a metric's spread over
ensembles. It is that of runs of any length: differences of seeds do not grow with tokens (worlds A to
C of `studies/arena`)."""
POOLED = 2
"""Differences of seeds that weigh as much as what all metrics share, and as what is usual."""


def shrink_noise(squares: Array, spreads: Array) -> Array:
    """Return the standard deviation of the difference of two seeds (`m`), shrunk towards what is usual.

    Args:
        squares: Squared difference of each metric (`m`): a variance times χ² with one degree of freedom.
        spreads: Standard deviation over mixtures (`m`); usual is relative to it, 0 for no part in it.
    """
    varying = spreads > 0
    if not varying.any():
        return np.asarray(np.sqrt(squares / (1 + POOLED)))
    relative = np.median(squares[varying] / np.square(spreads[varying])) / chi2.median(1)
    return np.asarray(np.sqrt((squares + POOLED * relative * np.square(spreads)) / (1 + POOLED)))


def measure_noise(runs: Runs | None, natural: Array, usual: float) -> NDArray[np.float64]:
    """Return the standard deviation of a paired difference between seeds, by metric (`m`).

    The variance of each metric is shrunk towards what they share, by their median, which one noisy
    metric does not move, and that towards what is usual. Two runs with one seed differ, from those with
    another, about as much as two independent runs do (`studies/arena/noise.py`), so that natural's two
    seeds count as one difference.

    Args:
        runs: Gains, of which those of one mixture and length with several seeds count.
        natural: Difference of natural's seeds in the unit of the gains (`m`); NaN where unknown.
        usual: What the differences of two seeds count as, in that unit.
    """
    squares, counts = np.square(np.nan_to_num(natural)), np.isfinite(natural).astype(float)
    for own in repeated_gains(runs):
        known = np.isfinite(own).sum(axis=0)
        repeated = known > 1
        squares[repeated] += np.nanvar(own[:, repeated], axis=0) * known[repeated]
        counts[repeated] += known[repeated] - 1
    seen = counts > 0
    shared = np.median(squares[seen] / chi2.median(counts[seen])) if seen.any() else 0.0
    count = counts[seen].mean() if seen.any() else 0.0
    pooled = (shared * count + POOLED * usual**2) / (count + POOLED)
    return np.asarray(np.sqrt((squares + POOLED * pooled) / (counts + POOLED)))


def repeated_gains(runs: Runs | None) -> list[Array]:
    """Return the gains of each mixture and length by seed (`seeds x m`), NaN where missing.

    Args:
        runs: Gains, of which one for each seed counts.
    """
    if runs is None:
        return []
    # ratios that went through a file differ in their last digits
    keys, found = np.column_stack([(runs.ratios / SAME).round(), runs.tokens]), []
    for key in np.unique(keys, axis=0):
        mine = (keys == key).all(axis=1)
        _, first = np.unique(runs.seeds[mine], return_index=True)
        found.append(runs.gains[mine][first])
    return found
