"""Ranking: scores as percentile ranks among the trials, for metrics whose units mean nothing.

DeMix (arXiv:2602.00747) averages ranks. A rank has no slope, so the share of trials that a score
beats is smoothed by a normal kernel; an optimiser can then climb it.

Shapes: `n` mixtures, `m` metrics, `t` trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from mixopt.mixture import Array
from mixopt.trials import Metric

SMOOTH = 0.5
"""Width of the kernel, as a share of the normal reference rule's for densities."""


@dataclass(frozen=True)
class PercentileRank:
    """Σ_m share_m · rank_m over `m` metrics; a rank goes from 0 to 1, higher is better.

    Attributes:
        metrics: The metrics, in the order of every `m`.
        shares: Weight of each metric, summing to 1.
        seen: Scores of the trials (`t x m`), turned so that higher is better; NaN where missing.
        widths: Of each metric's kernel.
    """

    metrics: tuple[Metric, ...]
    shares: Array
    seen: Array
    widths: Array

    @classmethod
    def among(cls, values: Array, metrics: Sequence[Metric], shares: Array) -> "PercentileRank":
        """Ranks among the scores `values` (`t x m`)."""
        seen = values * signs(metrics)
        counts = np.maximum(np.isfinite(seen).sum(axis=0), 1)
        spread = np.array([column[np.isfinite(column)].std() for column in seen.T])
        widths = SMOOTH * 1.06 * spread * counts**-0.2
        return cls(tuple(metrics), shares, seen, np.where(widths > 0, widths, 1.0))

    def of(self, scores: Array) -> Array:
        """Utility (`n`) of scores (`n x m`); NaN where a weighted score is missing."""
        total = np.zeros(len(scores))
        for place, column in enumerate(self._turned(scores).T):
            if self.shares[place]:
                total += self.shares[place] * self._rank(place, column)
        return total

    def slopes_at(self, scores: Array) -> Array:
        """Derivative by each score (`n x m`) at `n x m` scores."""
        slopes = np.zeros(scores.shape)
        turns = signs(self.metrics)
        for place, column in enumerate(self._turned(scores).T):
            known = self.seen[np.isfinite(self.seen[:, place]), place]
            away = (column[:, None] - known) / self.widths[place]
            density = norm.pdf(away).mean(axis=1) / self.widths[place]
            slopes[:, place] = self.shares[place] * turns[place] * density
        return slopes

    def std(self, std_errors: Array, at: Array) -> Array:
        """Standard deviation (`n`) from the scores' (`n x m`), taken as independent."""
        parts = np.where(self.shares == 0, 0.0, std_errors * self.slopes_at(at))
        return np.asarray(np.sqrt(np.square(parts).sum(axis=1)))

    def _turned(self, scores: Array) -> Array:
        return np.asarray(scores * signs(self.metrics))

    def _rank(self, place: int, column: Array) -> Array:
        known = self.seen[np.isfinite(self.seen[:, place]), place]
        away = (column[:, None] - known) / self.widths[place]
        return np.asarray(norm.cdf(away).mean(axis=1))


def signs(metrics: Sequence[Metric]) -> Array:
    """+1 where higher is better, −1 where lower is (`m`)."""
    return np.array([1.0 if metric.better == "higher" else -1.0 for metric in metrics])
