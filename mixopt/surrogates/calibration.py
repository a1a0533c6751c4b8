"""Calibrate intervals from studentized residuals of runs outside of the fit.

See docs/methods.md, section 4.3. Shapes: `n` runs, `m` metrics.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixopt.estimate import Z80, Z95
from mixopt.mixture import Array
from mixopt.surrogates.base import MIN_TRIALS

SHARED_COUNT = 8.0  # weight of the width shared by all metrics, in pseudo-runs of one metric
LEVELS = (0.80, 0.95)
LEAST_SHARE = 0.25  # smallest known share of a sum's variance from which the whole sum is estimated


@dataclass(frozen=True, eq=False)
class CriticalValues:
    """Half-widths of intervals in units of the standard deviation.

    Attributes:
        half80: Of 80% intervals, by metric (`m`).
        half95: Of 95% intervals, by metric (`m`).
    """

    half80: Array
    half95: Array

    @property
    def factor(self) -> Array:
        """Factor on the standard deviation that makes ±1.96 of it the 95% interval (`m`)."""
        return np.asarray(self.half95 / Z95)


def correlate(residuals: Array, stds: Array) -> Array:
    """Return the correlation of the metrics' errors (`m x m`), shrunk to a common correlation.

    Pairs of metrics have few runs, so their correlations are shrunk to the mean of all pairs by as
    much as sampling explains of their spread (Ledoit & Wolf 2004).

    Args:
        residuals: Out-of-fold residuals (`n x m`), NaN where a score is missing.
        stds: Their standard deviations by the model (`n x m`).
    """
    known = np.isfinite(residuals)
    ratio = np.where(known, residuals, 0.0) / np.where(stds > 0, stds, 1.0)
    counts = np.maximum(known.sum(axis=0), 1)
    widths = np.sqrt(np.square(ratio).sum(axis=0) / counts)
    ratio = ratio / np.where(widths > 0, widths, 1.0)
    together = np.maximum(known.T.astype(np.float64) @ known, 1.0)
    each = ratio.T @ ratio / together
    different = ~np.eye(len(each), dtype=bool)
    # metrics that do not vary have no errors
    different &= np.outer(widths > 0, widths > 0)
    if not different.any():
        return np.eye(len(each))
    common = float(np.clip(each[different].mean(), 0.0, 1.0))
    sampling = np.square(ratio).T @ np.square(ratio) / together - np.square(each)
    sampling = (sampling / together)[different].sum()
    spread = np.square(each - common)[different].sum()
    share = float(np.clip(sampling / spread, 0.0, 1.0)) if spread > 0 else 1.0
    shrunk = np.clip(share * common + (1 - share) * each, -1.0, 1.0)
    return np.where(different, shrunk, np.eye(len(each)))


def rescale_partial_sums(residuals: Array, parts: Array, stds: Array) -> Array:
    """Scale residuals of sums with missing parts to the variance of complete sums.

    Parts of one run have a common correlation ρ, so the variance of their sum is
    (1 − ρ)·Σ σ² + ρ·(Σ σ)². The known parts estimate ρ.

    Args:
        residuals: Sums of the known parts (`n`).
        parts: Each part (`n x m`), NaN where missing.
        stds: Standard deviation of each part (`n x m`), 0 for parts outside of the sum.

    Returns:
        Scaled residuals (`n`); NaN where less than a quarter of the variance is known.
    """
    counts = stds > 0
    there = np.isfinite(parts) & counts
    z = np.where(there, parts, 0.0) / np.where(counts, stds, 1.0)
    pairs = (there.sum(axis=1) * (there.sum(axis=1) - 1)).sum()
    together = (np.square(z.sum(axis=1)) - np.square(z).sum(axis=1)).sum()
    scale = np.square(z).sum() / max(there.sum(), 1)
    rho = float(np.clip(together / pairs / scale, 0.0, 1.0)) if pairs and scale > 0 else 0.0

    def variance(chosen: NDArray[np.bool_]) -> Array:
        own = np.where(chosen, stds, 0.0)
        alone, joined = np.square(own).sum(axis=1), np.square(own.sum(axis=1))
        return np.asarray((1 - rho) * alone + rho * joined)

    whole, part = variance(counts), variance(there)
    enough = part >= LEAST_SHARE * whole
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(enough & (part > 0), residuals * np.sqrt(whole / part), np.nan)


def calibrate(residuals: Array, stds: Array) -> CriticalValues:
    """Return the critical values of each metric.

    A metric's width is the root mean square of its studentized residuals, shrunk to the mean of
    all metrics. Tens of runs do not identify the shape of one metric's tails, so the quantiles are
    those of all metrics together (as in the jackknife+, Barber et al. 2021).

    Args:
        residuals: Out-of-fold residuals (`n x m`).
        stds: Their standard deviations by the model (`n x m`).
    """
    ratio = np.where(np.isfinite(residuals), residuals, np.nan) / stds
    counts = np.isfinite(ratio).sum(axis=0)
    squares = np.nansum(np.square(ratio), axis=0)
    shared = squares.sum() / max(counts.sum(), 1)
    widths = np.sqrt((squares + SHARED_COUNT * shared) / (counts + SHARED_COUNT))
    if not shared > 0:
        return CriticalValues(np.full(len(counts), Z80), np.full(len(counts), Z95))
    pooled = np.abs(ratio / widths)
    pooled = np.sort(pooled[np.isfinite(pooled)])
    if counts.max() < MIN_TRIALS:  # a handful of runs has no quantiles
        return CriticalValues(Z80 * widths, Z95 * widths)
    half80, half95 = (_quantile(pooled, level, int(counts.max())) for level in LEVELS)
    return CriticalValues(half80 * widths, max(half95, half80) * widths)


def calibrate_sum(residuals: Array, stds: Array, metrics: CriticalValues) -> CriticalValues:
    """Return the critical values of a sum of metrics.

    They are the quantiles of the sum's own residuals, shrunk to what the metrics' own intervals and
    correlations make of it: few residuals of a sum whose models were weighed by them are too small.

    Args:
        residuals: Out-of-fold residuals of the sum (`n`), NaN where unknown.
        stds: Their standard deviations (`n`), of which 1.96 is a 95% interval by the metrics' own.
        metrics: Critical values of the metrics.
    """
    own = calibrate(residuals[:, None], stds[:, None])
    count = int(np.isfinite(residuals).sum())
    share = float(np.median(metrics.half80 / metrics.half95))

    def shrink(half: Array, expected: float) -> Array:
        squares = count * np.square(half) + SHARED_COUNT * expected * expected
        return np.asarray(np.sqrt(squares / (count + SHARED_COUNT)))

    return CriticalValues(shrink(own.half80, Z95 * share), shrink(own.half95, Z95))


def calibrate_few(residuals: Array, stds: Array, metrics: CriticalValues) -> CriticalValues:
    """Return the critical values of a sum of metrics that a handful of runs measured.

    So few residuals have no quantiles: the width is shrunk to what the metrics' own intervals and
    correlations make of it, and the quantiles are the metrics'.

    Args:
        residuals: Out-of-fold residuals of the sum (`n`), NaN where unknown.
        stds: Their standard deviations (`n`), of which 1.96 is a 95% interval by the metrics' own.
        metrics: Critical values of the metrics.
    """
    ratio = (residuals / np.where(stds > 0, stds, 1.0))[np.isfinite(residuals)]
    width = np.sqrt((np.square(ratio).sum() + SHARED_COUNT) / (len(ratio) + SHARED_COUNT))
    share = float(np.median(metrics.half80 / metrics.half95))
    return CriticalValues(np.array([Z95 * share * width]), np.array([Z95 * width]))


def _quantile(ordered: Array, level: float, n: int) -> float:
    """Return the quantile with finite-sample coverage of at least `level` for `n` runs."""
    corrected = min(level * (n + 1) / n, 1.0)
    return float(np.quantile(ordered, corrected))
