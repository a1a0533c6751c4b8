"""How wide intervals have to be to hold: studentised residuals of runs that were not seen.

Shapes: `n` runs, `m` metrics.
"""

from dataclasses import dataclass

import numpy as np

from mixopt.mixture import Array
from mixopt.proposal import Z80, Z95

SHARED_COUNT = 8.0
"""What the width that all metrics share counts in pseudo-runs of one metric."""
LEVELS = (0.80, 0.95)


@dataclass(frozen=True, eq=False)
class Tails:
    """Half-widths of intervals in units of the standard deviation.

    Attributes:
        half80: Of 80% intervals, by metric (`m`).
        half95: Of 95% intervals, by metric (`m`).
    """

    half80: Array
    half95: Array

    @property
    def factor(self) -> Array:
        """What the standard deviation is multiplied by so that ±1.96 of it is the 95% interval."""
        return np.asarray(self.half95 / Z95)


def calibrate(residuals: Array, stds: Array) -> Tails:
    """Tails from out-of-fold residuals and their standard deviations (`n x m` each).

    A metric's own width is the root mean square of its studentised residuals, shrunk to what the
    metrics have in common; the shape of the tails, which tens of runs of one metric cannot tell,
    is that of all metrics together (quantiles as in the jackknife+, Barber et al. 2021).
    """
    ratio = np.where(np.isfinite(residuals), residuals, np.nan) / stds
    counts = np.isfinite(ratio).sum(axis=0)
    squares = np.nansum(np.square(ratio), axis=0)
    shared = squares.sum() / max(counts.sum(), 1)
    widths = np.sqrt((squares + SHARED_COUNT * shared) / (counts + SHARED_COUNT))
    if not shared > 0:
        return Tails(np.full(len(counts), Z80), np.full(len(counts), Z95))
    pooled = np.abs(ratio / widths)
    pooled = np.sort(pooled[np.isfinite(pooled)])
    half80, half95 = (_quantile(pooled, level, int(counts.max())) for level in LEVELS)
    return Tails(half80 * widths, max(half95, half80) * widths)


def _quantile(ordered: Array, level: float, n: int) -> float:
    """The quantile that covers a new value with at least `level`, for residuals of `n` runs."""
    corrected = min(level * (n + 1) / n, 1.0)
    return float(np.quantile(ordered, corrected))
