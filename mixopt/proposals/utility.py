"""Utility: one number from many scores, higher is better; what a search maximises.

Metrics are turned so that higher is better, standardised, averaged inside their capability, and
the capabilities averaged by their weights; or the worst capability counts alone.

Shapes: `n` mixtures, `m` metrics, `c` capabilities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixopt.errors import TrialsError
from mixopt.mixture import Array
from mixopt.trials import Metric, Trials

SOFTNESS = 0.05
"""Capabilities so close to the worst, in standard deviations, share its slope."""


@dataclass(frozen=True)
class Utility:
    """Σ_m slope_m · (score_m − centre_m) over `m` metrics.

    Attributes:
        metrics: The metrics, in the order of every `m`.
        slopes: Weight ÷ scale, negative where lower is better.
        centres: Scores at which the utility is zero.
    """

    metrics: tuple[Metric, ...]
    slopes: Array
    centres: Array

    @classmethod
    def standardised(
        cls, trials: Trials, metrics: Sequence[Metric], weights: Mapping[str, float] | None = None
    ) -> "Utility":
        """The weighted mean over capabilities of z-scores over `trials` (METHODS: z, mean, mean).

        A metric that is the same in every trial says nothing and gets no weight.
        """
        values = trials.values(metrics)
        centres = _nan_columns(np.nanmean, values)
        scales = _nan_columns(np.nanstd, values)
        shares = _capability_shares(metrics, weights or {}, scales > 0)
        slopes = _signs(metrics) * shares / np.where(scales > 0, scales, 1.0)
        return cls(tuple(metrics), slopes, centres)

    @classmethod
    def weighted(
        cls, trials: Trials, metrics: Sequence[Metric], weights: Mapping[str, float]
    ) -> "Utility":
        """The mean of z-scores over `trials`, weighted by metric; unnamed metrics weigh nothing.

        Raises:
            TrialsError: A weight is negative, or none is above zero for a metric that varies.
        """
        negative = [name for name, weight in weights.items() if not weight >= 0]
        if negative:
            raise TrialsError(
                f"The weight of metric {negative[0]!r} is {weights[negative[0]]:g}; weights are not "
                "negative: say better='higher' or 'lower' to turn a metric."
            )
        values = trials.values(metrics)
        scales = _nan_columns(np.nanstd, values)
        shares = np.array([weights.get(metric.name, 0.0) for metric in metrics]) * (scales > 0)
        if not shares.sum() > 0:
            raise TrialsError(
                "No metric with a weight differs between trials; give weights to others."
            )
        slopes = _signs(metrics) * shares / shares.sum() / np.where(scales > 0, scales, 1.0)
        return cls(tuple(metrics), slopes, _nan_columns(np.nanmean, values))

    @classmethod
    def raw_mean(cls, metrics: Sequence[Metric]) -> "Utility":
        """The plain mean of metrics in their own units, turned so that higher is better.

        Raises:
            TrialsError: The metrics differ in direction, so that their mean means nothing.
        """
        if len({metric.better for metric in metrics}) > 1:
            raise TrialsError(
                "The average of metrics of which some are better lower and some higher means "
                "nothing; fit target='utility', which standardises them, or one metric."
            )
        return cls(tuple(metrics), _signs(metrics) / len(metrics), np.zeros(len(metrics)))

    def of(self, scores: Array) -> Array:
        """Utility (`n`) of scores (`n x m`); NaN where a weighted score is missing."""
        weighted = np.where(self.slopes == 0, 0.0, (scores - self.centres) * self.slopes)
        return np.asarray(weighted.sum(axis=1))

    def slopes_at(self, scores: Array) -> Array:
        """Derivative by each score (`n x m`) at `n x m` scores; the same everywhere."""
        return np.broadcast_to(self.slopes, scores.shape)

    def std(self, std_errors: Array, at: Array) -> Array:
        """Standard deviation (`n`) from the scores' (`n x m`), taken as independent."""
        return _carry(std_errors, self.slopes_at(at))

    def difference(self, differences: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """Utility difference and its standard error from those of each metric, by name."""
        pairs = np.array([differences[metric.name] for metric in self.metrics])
        weighted = np.where(self.slopes[:, None] == 0, 0.0, pairs * self.slopes[:, None])
        return float(weighted[:, 0].sum()), float(np.sqrt(np.square(weighted[:, 1]).sum()))


@dataclass(frozen=True)
class WorstCapability:
    """The least of several capabilities' utilities.

    Attributes:
        metrics: The metrics, in the order of every `m`.
        parts: One utility per capability, over all metrics; those of others weigh nothing.
    """

    metrics: tuple[Metric, ...]
    parts: Mapping[str, Utility]

    @classmethod
    def of_capabilities(cls, trials: Trials, metrics: Sequence[Metric]) -> "WorstCapability":
        """One part for each capability that differs between trials."""
        told = _nan_columns(np.nanstd, trials.values(metrics)) > 0
        names = dict.fromkeys(m.capability for m, tells in zip(metrics, told, strict=True) if tells)
        parts = {}
        for name in names:
            only = {other.capability: float(other.capability == name) for other in metrics}
            parts[name] = Utility.standardised(trials, metrics, only)
        return cls(tuple(metrics), parts)

    def of(self, scores: Array) -> Array:
        """Utility (`n`) of scores (`n x m`); NaN where a score that counts is missing."""
        return np.asarray(self._each(scores).min(axis=1))

    def slopes_at(self, scores: Array) -> Array:
        """Derivative by each score (`n x m`) of the least capability, smoothed (softmin).

        At a kink the plain derivative would send an optimiser from one side to the other.
        """
        each = self._each(scores)
        share = np.exp(-(each - each.min(axis=1, keepdims=True)) / SOFTNESS)
        share /= share.sum(axis=1, keepdims=True)
        return np.asarray(share @ np.stack([part.slopes for part in self.parts.values()]))

    def std(self, std_errors: Array, at: Array) -> Array:
        """Standard deviation (`n`) from the scores' (`n x m`), taken as independent."""
        return _carry(std_errors, self.slopes_at(at))

    def _each(self, scores: Array) -> Array:
        return np.stack([part.of(scores) for part in self.parts.values()], axis=1)


AnyUtility = Utility | WorstCapability


def _carry(std_errors: Array, slopes: Array) -> Array:
    parts = np.where(slopes == 0, 0.0, std_errors * slopes)
    return np.asarray(np.sqrt(np.square(parts).sum(axis=1)))


def _signs(metrics: Sequence[Metric]) -> Array:
    return np.array([1.0 if metric.better == "higher" else -1.0 for metric in metrics])


def _nan_columns(reduce: Callable[[Array], float], values: Array) -> Array:
    """A reduction by column that is NaN, without a warning, where a column is empty."""
    return np.array([
        reduce(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan
        for column in values.T
    ])  # fmt: skip


def _capability_shares(
    metrics: Sequence[Metric], weights: Mapping[str, float], told: np.ndarray
) -> Array:
    """Each metric's share of the utility: its capability's, divided among its metrics."""
    members: dict[str, int] = {}
    for metric, tells in zip(metrics, told, strict=True):
        members[metric.capability] = members.get(metric.capability, 0) + int(tells)
    total = sum(weights.get(name, 1.0) for name, count in members.items() if count)
    if total <= 0:
        raise TrialsError(
            "No capability has a weight above zero and scores that differ between trials; "
            "mend capability_weights, or score benchmarks that tell mixtures apart."
        )
    return np.array([
        weights.get(metric.capability, 1.0) / total / members[metric.capability] if tells else 0.0
        for metric, tells in zip(metrics, told, strict=True)
    ])  # fmt: skip
