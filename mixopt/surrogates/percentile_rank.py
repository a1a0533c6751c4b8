"""A utility of percentile ranks: how many of the trials a mixture's scores beat.

Shapes: `n` mixtures, `m` metrics, `t` trials.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from mixopt.mixture import Array
from mixopt.surrogates.kernels import CHUNK
from mixopt.surrogates.metric_arrays import Metrics, propagate_errors, reduce_columns, signs
from mixopt.trial import Metric, Normalisation

SMOOTH = 0.5  # bandwidth of the kernel, as a share of the normal reference rule for densities


@dataclass(frozen=True)
class PercentileRank:
    """Σ_m share_m · rank_m over `m` metrics; a percentile rank is from 0 to 1, higher is better.

    DeMix (arXiv:2602.00747) averages ranks. A rank has no gradient, so a normal kernel smooths the
    share of trials that a score beats.

    Attributes:
        metrics: The metrics, in the order of every `m`.
        shares: Weight of each metric, summing to 1.
        seen: Scores of the trials (`t x m`), signed so that higher is better; NaN where missing.
        widths: Bandwidth of each metric's kernel (`m`).
    """

    metrics: tuple[Metric, ...]
    shares: Array
    seen: Array
    widths: Array

    @property
    def normalise(self) -> Normalisation:
        """How metrics became comparable."""
        return "rank"

    @classmethod
    def among(cls, values: Array, metrics: Metrics, shares: Array) -> "PercentileRank":
        """Return ranks among the scores `values` (`t x m`)."""
        seen = values * signs(metrics)
        counts = np.maximum(np.isfinite(seen).sum(axis=0), 1)
        spread = reduce_columns(np.std, seen)
        widths = SMOOTH * 1.06 * spread * counts**-0.2
        return cls(tuple(metrics), shares, seen, np.where(widths > 0, widths, 1.0))

    def of(self, scores: Array) -> Array:
        """Return the utility (`n`) of scores (`n x m`); NaN where a weighted score is missing."""
        total = np.zeros(len(scores))
        for place, share in enumerate(self.shares):
            if share:
                total += share * self._average(norm.cdf, scores, place)
        return total

    def gradient(self, scores: Array) -> Array:
        """Return the derivative by each score (`n x m`) at `n x m` scores."""
        gradient = np.zeros(scores.shape)
        for place, sign in enumerate(signs(self.metrics)):
            density = self._average(norm.pdf, scores, place) / self.widths[place]
            gradient[:, place] = self.shares[place] * sign * density
        return gradient

    def std(self, std_errors: Array, at: Array, correlation: Array | None = None) -> Array:
        """Return the standard deviation (`n`), given those of scores (`n x m`) and their correlation.

        Scores are independent without a `correlation` (`m x m`).
        """
        return propagate_errors(
            std_errors, np.where(self.shares == 0, 0.0, self.gradient(at)), correlation
        )

    def _average(self, kernel: Callable[[Array], Array], scores: Array, place: int) -> Array:
        """Return the mean of a kernel of one metric's distances to the trials' scores (`n`)."""
        known = self.seen[np.isfinite(self.seen[:, place]), place]
        column = scores[:, place] * signs(self.metrics[place : place + 1])
        averages = np.empty(len(column))
        # in slices: all distances of large tables would be `n x t` numbers
        step = max(1, CHUNK // max(1, len(known)))
        for start in range(0, len(column), step):
            part = slice(start, start + step)
            distances = (column[part, None] - known) / self.widths[place]
            averages[part] = kernel(distances).mean(axis=1)
        return averages
