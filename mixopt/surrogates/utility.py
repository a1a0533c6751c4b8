"""The utility: one number from many scores, higher is better; the objective of a search.

Metrics are signed so that higher is better, normalized (z-scores, percentile ranks, or raw) and
averaged inside their capability. The utility is the weighted mean of the capabilities, or the worst.
See docs/methods.md, section 5. Shapes: `n` mixtures, `m` metrics, `c` capabilities, `t` trials.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixopt.errors import TrialsError
from mixopt.mixture import Array
from mixopt.surrogates.metric_arrays import (
    Metrics,
    deviations,
    metric_shares,
    propagate_errors,
    reduce_columns,
    signs,
)
from mixopt.surrogates.percentile_rank import PercentileRank
from mixopt.trial import Aggregation, Metric, Normalisation
from mixopt.trials import Trials

Weights = Mapping[str, float] | None  # by capability or metric; 1 where none is given

TRUSTED = 0.8  # trust of a metric whose capability may be the worst one
SOFTNESS = 0.05  # temperature of the softmin in a gradient, in standard deviations


@dataclass(frozen=True)
class Utility:
    """A linear utility: Σ_m coefficient_m · (score_m − center_m) over `m` metrics.

    Attributes:
        metrics: The metrics, in the order of every `m`.
        coefficients: Weight ÷ scale, negative where lower is better (`m`).
        centers: Scores at which the utility is zero (`m`).
        normalise: Whether metrics are in standard deviations (`z`) or in their own units (`raw`).
    """

    metrics: tuple[Metric, ...]
    coefficients: Array
    centers: Array
    normalise: Normalisation = "z"

    @classmethod
    def standardized(
        cls,
        trials: Trials,
        metrics: Metrics,
        weights: Weights = None,
        trust: Weights = None,
        scales: Weights = None,
    ) -> "Utility":
        """Return the weighted mean over capabilities of z-scores over `trials`.

        A metric that is the same in every trial has no weight.

        Args:
            trials: Their scores define the center, and the scale of metrics that have none given.
            metrics: The metrics of the utility.
            weights: By capability; 1 where none is given.
            trust: By metric, its weight inside its capability; 1 where none is given.
            scales: By metric, what counts as 1; the standard deviation over the trials where none is
                given.
        """
        values = trials.values(metrics)
        centers = reduce_columns(np.nanmean, values)
        spreads = deviations(values)
        shares = metric_shares(metrics, weights or {}, spreads > 0, trust or {})
        given = [(scales or {}).get(metric.name, np.nan) for metric in metrics]
        units = np.where(np.isfinite(given), given, spreads)
        coefficients = signs(metrics) * shares / np.where(units > 0, units, 1.0)
        return cls(tuple(metrics), coefficients, centers)

    @classmethod
    def weighted(cls, trials: Trials, metrics: Metrics, weights: Mapping[str, float]) -> "Utility":
        """Return the mean of z-scores over `trials`, weighted by metric.

        Args:
            trials: Their scores define the scale.
            metrics: The metrics of the utility.
            weights: By metric; 0 where none is given.

        Raises:
            TrialsError: A weight is negative, or none is above zero for a metric that varies.
        """
        negative = [name for name, weight in weights.items() if not weight >= 0]
        if negative:
            raise TrialsError(
                f"The weight of metric {negative[0]!r} is {weights[negative[0]]:g}; weights are not "
                "negative: use better='higher' or 'lower' to turn a metric."
            )
        values = trials.values(metrics)
        scales = deviations(values)
        shares = np.array([weights.get(metric.name, 0.0) for metric in metrics]) * (scales > 0)
        if not shares.sum() > 0:
            raise TrialsError(
                "No metric with a weight differs between trials; weigh other metrics."
            )
        coefficients = signs(metrics) * shares / shares.sum() / np.where(scales > 0, scales, 1.0)
        return cls(tuple(metrics), coefficients, reduce_columns(np.nanmean, values))

    @classmethod
    def raw_mean(cls, metrics: Metrics) -> "Utility":
        """Return the plain mean of metrics in their own units, signed so that higher is better.

        Raises:
            TrialsError: Some metrics are better lower and some higher.
        """
        require_one_direction(metrics)
        return cls(tuple(metrics), signs(metrics) / len(metrics), np.zeros(len(metrics)), "raw")

    def of(self, scores: Array) -> Array:
        """Return the utility (`n`) of scores (`n x m`); NaN where a weighted score is missing."""
        parts = (scores - self.centers) * self.coefficients
        return np.asarray(np.where(self.coefficients == 0, 0.0, parts).sum(axis=1))

    def gradient(self, scores: Array) -> Array:
        """Return the derivative by each score (`n x m`) at `n x m` scores: a constant."""
        return np.broadcast_to(self.coefficients, scores.shape)

    def std(self, std_errors: Array, at: Array, correlation: Array | None = None) -> Array:
        """Return the standard deviation (`n`), given those of scores (`n x m`) and their correlation.

        Scores are independent without a `correlation` (`m x m`).
        """
        return propagate_errors(std_errors, self.gradient(at), correlation)


@dataclass(frozen=True)
class WorstCapability:
    """The smallest of several capabilities' utilities.

    Attributes:
        metrics: The metrics, in the order of every `m`.
        parts: One utility per capability, over all metrics; those of others have no weight.
    """

    metrics: tuple[Metric, ...]
    parts: Mapping[str, Utility | PercentileRank]

    @classmethod
    def of_capabilities(
        cls,
        trials: Trials,
        metrics: Metrics,
        trust: Weights = None,
        normalise: Normalisation = "z",
        scales: Weights = None,
    ) -> "WorstCapability":
        """Return one part for each capability with a trusted metric that varies.

        If no capability has one, return a part for each with a metric that varies.

        Args:
            trials: Their scores define the scale.
            metrics: The metrics of the utility.
            trust: By metric, its weight inside its capability; 1 where none is given.
            normalise: As in `make_utility`.
            scales: As in `make_utility`.
        """
        settings = (trials, metrics, trust, normalise, scales)
        parts = utilities_by_capability(*settings, least_trust=TRUSTED)
        parts = parts or utilities_by_capability(*settings)
        return cls(tuple(metrics), parts)

    @property
    def normalise(self) -> Normalisation:
        """How the metrics of the parts became comparable."""
        return next(iter(self.parts.values())).normalise

    def of(self, scores: Array) -> Array:
        """Return the utility (`n`) of scores (`n x m`); NaN where a weighted score is missing."""
        return np.asarray(self._each(scores).min(axis=1))

    def gradient(self, scores: Array) -> Array:
        """Return the derivative by each score (`n x m`) of the minimum, smoothed (softmin).

        At a kink the exact derivative would make an optimizer jump between its sides.
        """
        each = self._each(scores)
        share = np.exp(-(each - each.min(axis=1, keepdims=True)) / SOFTNESS)
        share /= share.sum(axis=1, keepdims=True)
        gradients = np.stack([part.gradient(scores) for part in self.parts.values()], axis=1)
        return np.asarray(np.einsum("nc,ncm->nm", share, gradients))

    def std(self, std_errors: Array, at: Array, correlation: Array | None = None) -> Array:
        """Return the standard deviation (`n`), given those of scores (`n x m`) and their correlation.

        Scores are independent without a `correlation` (`m x m`).
        """
        return propagate_errors(std_errors, self.gradient(at), correlation)

    def _each(self, scores: Array) -> Array:
        return np.stack([part.of(scores) for part in self.parts.values()], axis=1)


AnyUtility = Utility | PercentileRank | WorstCapability

AGGREGATES: tuple[Aggregation, ...] = ("mean", "weighted", "worst")


def utilities_by_capability(
    trials: Trials,
    metrics: Metrics,
    trust: Weights = None,
    normalise: Normalisation = "z",
    scales: Weights = None,
    *,
    least_trust: float = 0.0,
) -> dict[str, "Utility | PercentileRank"]:
    """Return the utility of each capability alone, over all metrics; those of others have no weight.

    Args:
        trials: Their scores define the scale.
        metrics: The metrics of the utility.
        trust: By metric, its weight inside its capability; 1 where none is given.
        normalise: As in `make_utility`.
        scales: As in `make_utility`.
        least_trust: A capability needs a metric that varies and has at least this trust.
    """
    varying = deviations(trials.values(metrics)) > 0
    each = [
        (trust or {}).get(metric.name, 1.0) * float(v)
        for metric, v in zip(metrics, varying, strict=True)
    ]
    parts = {}
    for metric, own in zip(metrics, each, strict=True):
        name = metric.capability
        if own > 0 and own >= least_trust and name not in parts:
            only = {other.capability: float(other.capability == name) for other in metrics}
            parts[name] = _mean_utility(trials, metrics, only, trust, normalise, scales)
    return parts


def make_utility(
    trials: Trials,
    metrics: Metrics,
    *,
    aggregate: Aggregation = "weighted",
    normalise: Normalisation = "z",
    weights: Weights = None,
    trust: Weights = None,
    scales: Weights = None,
) -> AnyUtility:
    """Return the utility of scores, in the scale of `trials`.

    Args:
        trials: Their scores define the scale.
        metrics: The metrics of the utility.
        aggregate: Of capabilities: their `mean`, the `weighted` mean, or the `worst`.
        normalise: Of metrics: `z` over the trials, percentile `rank` among them, or `raw`.
        weights: By capability, for `weighted`; 1 where none is given.
        trust: By metric, its weight inside its capability; 1 where none is given.
        scales: By metric, what counts as 1 for `z`; the standard deviation over the trials where none
            is given.

    Raises:
        TrialsError: No metric differs between trials, or raw metrics differ in direction.
    """
    if aggregate == "worst":
        return WorstCapability.of_capabilities(trials, metrics, trust, normalise, scales)
    by_capability = weights if aggregate == "weighted" else None
    return _mean_utility(trials, metrics, by_capability, trust, normalise, scales)


def _mean_utility(
    trials: Trials,
    metrics: Metrics,
    weights: Weights,
    trust: Weights,
    normalise: Normalisation,
    scales: Weights,
) -> Utility | PercentileRank:
    if normalise == "z":
        return Utility.standardized(trials, metrics, weights, trust, scales)
    values = trials.values(metrics)
    if normalise == "raw":
        require_one_direction(metrics)
    varying = deviations(values) > 0
    shares = metric_shares(metrics, weights or {}, varying, trust or {})
    if normalise == "raw":
        return Utility(tuple(metrics), signs(metrics) * shares, np.zeros(len(metrics)), "raw")
    return PercentileRank.among(values, metrics, shares)


def measure_gain(
    utility: AnyUtility, own: Array, other: Array, std_errors: Array
) -> tuple[float, float]:
    """Return the utility of scores `own` (`m`) minus that of `other`, and its standard error.

    Args:
        utility: Its gradient halfway between the scores propagates the errors.
        own: Scores (`m`).
        other: Scores on the same items (`m`).
        std_errors: Of the scores' differences, paired (`m`).
    """
    gain = utility.of(own[None]) - utility.of(other[None])
    halfway = (own + other)[None] / 2
    return float(gain[0]), float(utility.std(std_errors[None], halfway)[0])


def require_one_direction(metrics: Metrics) -> None:
    """Check that metrics can be averaged in their own units.

    Args:
        metrics: The `m` metrics of an average.

    Raises:
        TrialsError: Some are better lower and some higher.
    """
    if len({metric.better for metric in metrics}) > 1:
        raise TrialsError(
            "The average of metrics of which some are better lower and some higher means "
            "nothing; fit target='utility', which standardizes them, or one metric."
        )
