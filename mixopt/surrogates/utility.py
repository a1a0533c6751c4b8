"""Utility: one number from many scores, higher is better; what a search maximises.

Metrics are turned so that higher is better, normalised (z-scores, percentile ranks, or raw),
averaged inside their capability, and the capabilities averaged by their weights; or the worst
capability counts alone.

Shapes: `n` mixtures, `m` metrics, `c` capabilities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixopt.errors import TrialsError
from mixopt.mixture import Array
from mixopt.surrogates.percentile_rank import PercentileRank, signs
from mixopt.trials import Aggregation, Metric, Normalisation, Trials

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
        cls,
        trials: Trials,
        metrics: Sequence[Metric],
        weights: Mapping[str, float] | None = None,
        trust: Mapping[str, float] | None = None,
    ) -> "Utility":
        """The weighted mean over capabilities of z-scores over `trials` (METHODS: z, mean, mean).

        A metric that is the same in every trial says nothing and gets no weight.

        Args:
            trials: Whose scores are the scale.
            metrics: Metrics that count.
            weights: By capability; 1 where none is given.
            trust: By metric, its weight inside its capability; 1 where none is given.
        """
        values = trials.values(metrics)
        centres = _nan_columns(np.nanmean, values)
        scales = _nan_columns(np.nanstd, values)
        shares = _capability_shares(metrics, weights or {}, scales > 0, trust or {})
        slopes = signs(metrics) * shares / np.where(scales > 0, scales, 1.0)
        return cls(tuple(metrics), slopes, centres)

    @classmethod
    def raw(
        cls,
        trials: Trials,
        metrics: Sequence[Metric],
        weights: Mapping[str, float] | None = None,
        trust: Mapping[str, float] | None = None,
    ) -> "Utility":
        """The weighted mean over capabilities of scores in their own units.

        Raises:
            TrialsError: The metrics differ in direction, so that their mean means nothing.
        """
        require_one_direction(metrics)
        told = _nan_columns(np.nanstd, trials.values(metrics)) > 0
        shares = _capability_shares(metrics, weights or {}, told, trust or {})
        return cls(tuple(metrics), signs(metrics) * shares, np.zeros(len(metrics)))

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
        slopes = signs(metrics) * shares / shares.sum() / np.where(scales > 0, scales, 1.0)
        return cls(tuple(metrics), slopes, _nan_columns(np.nanmean, values))

    @classmethod
    def raw_mean(cls, metrics: Sequence[Metric]) -> "Utility":
        """The plain mean of metrics in their own units, turned so that higher is better.

        Raises:
            TrialsError: The metrics differ in direction, so that their mean means nothing.
        """
        require_one_direction(metrics)
        return cls(tuple(metrics), signs(metrics) / len(metrics), np.zeros(len(metrics)))

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


@dataclass(frozen=True)
class WorstCapability:
    """The least of several capabilities' utilities.

    Attributes:
        metrics: The metrics, in the order of every `m`.
        parts: One utility per capability, over all metrics; those of others weigh nothing.
    """

    metrics: tuple[Metric, ...]
    parts: Mapping[str, Utility | PercentileRank]

    @classmethod
    def of_capabilities(
        cls,
        trials: Trials,
        metrics: Sequence[Metric],
        trust: Mapping[str, float] | None = None,
        normalise: Normalisation = "z",
    ) -> "WorstCapability":
        """One part for each capability that differs between trials and has a trusted metric.

        All that differ, where none has one.
        """
        told = _nan_columns(np.nanstd, trials.values(metrics)) > 0
        differing = [metric for metric, tells in zip(metrics, told, strict=True) if tells]
        sure = [m for m in differing if (trust or {}).get(m.name, 1.0) >= 1]
        names = dict.fromkeys(metric.capability for metric in sure or differing)
        parts = {}
        for name in names:
            only = {other.capability: float(other.capability == name) for other in metrics}
            parts[name] = _mean_utility(trials, metrics, only, trust, normalise)
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
        slopes = np.stack([part.slopes_at(scores) for part in self.parts.values()], axis=1)
        return np.asarray(np.einsum("nc,ncm->nm", share, slopes))

    def std(self, std_errors: Array, at: Array) -> Array:
        """Standard deviation (`n`) from the scores' (`n x m`), taken as independent."""
        return _carry(std_errors, self.slopes_at(at))

    def _each(self, scores: Array) -> Array:
        return np.stack([part.of(scores) for part in self.parts.values()], axis=1)


AnyUtility = Utility | PercentileRank | WorstCapability

AGGREGATES: tuple[Aggregation, ...] = ("mean", "weighted", "worst")


def make_utility(
    trials: Trials,
    metrics: Sequence[Metric],
    *,
    aggregate: Aggregation = "weighted",
    normalise: Normalisation = "z",
    weights: Mapping[str, float] | None = None,
    trust: Mapping[str, float] | None = None,
) -> AnyUtility:
    """The utility of scores, in the scale of `trials`.

    Args:
        trials: Whose scores are the scale.
        metrics: Metrics that count.
        aggregate: Of capabilities: their `mean`, the `weighted` mean, or the `worst`.
        normalise: Of metrics: `z` over the trials, percentile `rank` among them, or `raw`.
        weights: By capability, for `weighted`; 1 where none is given.
        trust: By metric, its weight inside its capability; 1 where none is given.

    Raises:
        TrialsError: No metric differs between trials, or raw metrics differ in direction.
    """
    if aggregate == "worst":
        return WorstCapability.of_capabilities(trials, metrics, trust, normalise)
    asked = weights if aggregate == "weighted" else None
    return _mean_utility(trials, metrics, asked, trust, normalise)


def _mean_utility(
    trials: Trials,
    metrics: Sequence[Metric],
    weights: Mapping[str, float] | None,
    trust: Mapping[str, float] | None,
    normalise: Normalisation,
) -> Utility | PercentileRank:
    if normalise == "z":
        return Utility.standardised(trials, metrics, weights, trust)
    if normalise == "raw":
        return Utility.raw(trials, metrics, weights, trust)
    values = trials.values(metrics)
    told = _nan_columns(np.nanstd, values) > 0
    shares = _capability_shares(metrics, weights or {}, told, trust or {})
    return PercentileRank.among(values, metrics, shares)


def measure_gain(
    utility: AnyUtility, own: Array, other: Array, std_errors: Array
) -> tuple[float, float]:
    """Utility of scores `own` (`m`) minus that of `other`, and its standard error.

    Args:
        utility: Linear or not; its slopes halfway carry the errors.
        own: Scores.
        other: Scores on the same items.
        std_errors: Of the scores' differences, paired (`m`).
    """
    gain = utility.of(own[None]) - utility.of(other[None])
    halfway = (own + other)[None] / 2
    return float(gain[0]), float(utility.std(std_errors[None], halfway)[0])


def require_one_direction(metrics: Sequence[Metric]) -> None:
    """Raises `TrialsError` where some metrics are better lower and some higher."""
    if len({metric.better for metric in metrics}) > 1:
        raise TrialsError(
            "The average of metrics of which some are better lower and some higher means "
            "nothing; fit target='utility', which standardises them, or one metric."
        )


def _carry(std_errors: Array, slopes: Array) -> Array:
    parts = np.where(slopes == 0, 0.0, std_errors * slopes)
    return np.asarray(np.sqrt(np.square(parts).sum(axis=1)))


def _nan_columns(reduce: Callable[[Array], float], values: Array) -> Array:
    """A reduction by column that is NaN, without a warning, where a column is empty."""
    return np.array([
        reduce(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan
        for column in values.T
    ])  # fmt: skip


def _capability_shares(
    metrics: Sequence[Metric],
    weights: Mapping[str, float],
    told: np.ndarray,
    trust: Mapping[str, float],
) -> Array:
    """Each metric's share of the utility: its capability's, divided among its metrics by trust.

    A capability counts as much as its most trusted metric: one that has nothing but noise counts little.
    """
    each = [
        trust.get(metric.name, 1.0) * float(tells)
        for metric, tells in zip(metrics, told, strict=True)
    ]
    members: dict[str, float] = {}
    best: dict[str, float] = {}
    for metric, own in zip(metrics, each, strict=True):
        members[metric.capability] = members.get(metric.capability, 0.0) + own
        best[metric.capability] = max(best.get(metric.capability, 0.0), own)
    counted = {name: weights.get(name, 1.0) * best[name] for name in members}
    total = sum(counted.values())
    if total <= 0:
        raise TrialsError(
            "No capability has a weight above zero and scores that differ between trials; "
            "mend capability_weights, or score benchmarks that tell mixtures apart."
        )
    return np.array([
        counted[metric.capability] / total * own / members[metric.capability] if own else 0.0
        for metric, own in zip(metrics, each, strict=True)
    ])  # fmt: skip
