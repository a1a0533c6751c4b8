"""Fitting: one surrogate per metric, chosen by cross-validation on the trials themselves."""

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.mixture import Array
from mixopt.proposals.fidelity import spearman
from mixopt.proposals.surrogates import SURROGATES, MetricSurrogate, surrogate_factory
from mixopt.proposals.utility import Utility
from mixopt.trials import Metric, Trials

log = logging.getLogger(__name__)

FEWEST_TRIALS = 6
FOLDS = 8
CONSTANT = "constant"
CLIP_MARGIN = 0.5
"""Predictions stay in the range of the scores, widened by this share of it on either side."""


@dataclass(frozen=True)
class FittedMetric:
    """The chosen surrogate of one metric and how well it predicted trials it had not seen.

    Attributes:
        metric: The metric.
        chosen: Name of the surrogate, or `constant` where the scores do not differ.
        cv_errors: Cross-validated squared error of each surrogate, in units of the variance.
        cv_predictions: Out-of-fold prediction of each trial (`n`), NaN where it has no score.
        cv_stds: The standard deviations that went with them, before calibration.
        calibration: Factor on the standard deviation: root mean square of the out-of-fold
            errors in units of it, at least one.
        rank_correlation: Spearman of out-of-fold predictions with scores, NaN if constant.
    """

    metric: Metric
    chosen: str
    cv_errors: Mapping[str, float]
    cv_predictions: Array
    cv_stds: Array
    calibration: float
    rank_correlation: float
    _model: MetricSurrogate | None
    _centre: float
    _scale: float
    _bounds: tuple[float, float]

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and calibrated standard deviation (`n` each) in the metric's own units."""
        if self._model is None:
            return np.full(len(ratios), self._centre), np.zeros(len(ratios))
        mean, std = self._model.predict(ratios)
        # no law is trusted far beyond what was measured: what is cut off is doubt
        low, high = self._bounds
        bounded = np.clip(mean, low, high)
        wide = self.calibration * std + np.abs(mean - bounded)
        return self._centre + self._scale * bounded, self._scale * wide


@dataclass(frozen=True)
class Surrogate:
    """Scores and utility as functions of the mixture, over `d` domains and `m` metrics.

    Attributes:
        domains: The order of every `d`.
        metrics: One fitted surrogate per metric.
        utility: What is maximised.
        trials: What it was fitted to.
        utility_calibration: Factor on the utility's standard deviation, by cross-validation.
        cv_utilities: Out-of-fold predicted utility of each trial (`n`).
    """

    domains: tuple[str, ...]
    metrics: tuple[FittedMetric, ...]
    utility: Utility
    trials: Trials
    utility_calibration: float
    cv_utilities: Array

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation, `n x m` each, at `n x d` ratios."""
        pairs = [fitted.predict(ratios) for fitted in self.metrics]
        return np.stack([p[0] for p in pairs], axis=1), np.stack([p[1] for p in pairs], axis=1)

    def predict_utility(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n` each) of the utility at `n x d` ratios."""
        mean, std = self.predict(ratios)
        return self.utility.of(mean), self.utility_calibration * self.utility.std(std)


def fit(
    trials: Trials,
    *,
    target: str = "utility",
    capability_weights: Mapping[str, float] | None = None,
    surrogates: Sequence[str] = tuple(SURROGATES),
    seed: int = 0,
) -> Surrogate:
    """The surrogate of `trials`, one regressor per metric.

    Args:
        trials: `n` mixtures over `d` domains with their scores.
        target: `utility` (mean over capabilities of standardised metrics), `average` (plain mean
            of metrics in their own units), or the name of one metric.
        capability_weights: Weight of each capability in `utility`; 1 where none is given.
        surrogates: The kinds to choose from.
        seed: Of everything random here.

    Raises:
        TrialsError: Too few trials, or no such metric.
        HoldoutError: The target is a benchmark with role holdout.
    """
    if len(trials) < FEWEST_TRIALS:
        raise TrialsError(
            f"{len(trials)} trials are too few to fit; at least {FEWEST_TRIALS} are needed."
        )
    for name in surrogates:
        if name not in SURROGATES:
            raise TrialsError(f"No surrogate is called {name!r}. {did_you_mean(name, SURROGATES)}")
    if target in ("utility", "average"):
        metrics = trials.search_metrics
        if not metrics:
            raise TrialsError("No metric of these trials has role search; name some to search by.")
    else:
        metrics = trials.require_search([target])
    ratios = trials.ratios()
    values = trials.values(metrics)
    folds = _assign_folds(len(trials), seed)
    fitted = tuple(
        _fit_metric(metric, ratios, values[:, index], folds, surrogates, seed)
        for index, metric in enumerate(metrics)
    )
    if all(one.chosen == CONSTANT for one in fitted):
        raise TrialsError(
            "Every metric is the same in all trials, so no mixture can be told from another; give "
            "metrics that differ."
        )
    if target == "average":
        utility = Utility.raw_mean(metrics)
    else:
        utility = Utility.standardised(trials, metrics, capability_weights)
    predicted = np.stack([f.cv_predictions for f in fitted], axis=1)
    stds = np.stack([f.cv_stds * f.calibration for f in fitted], axis=1)
    out_of_fold = utility.of(predicted)
    calibration = _calibrate(utility.of(values) - out_of_fold, utility.std(stds))
    return Surrogate(trials.domains, fitted, utility, trials, calibration, out_of_fold)


def _assign_folds(n: int, seed: int) -> np.ndarray:
    """The fold (of at most `FOLDS`) of each trial: the same for every metric and surrogate."""
    order = np.random.default_rng(seed).permutation(n)
    folds = np.empty(n, dtype=np.int64)
    folds[order] = np.arange(n) % min(FOLDS, n)
    return folds


def _fit_metric(
    metric: Metric, ratios: Array, scores: Array, folds: np.ndarray, names: Sequence[str], seed: int
) -> FittedMetric:
    known = np.isfinite(scores)
    if known.sum() < FEWEST_TRIALS:
        raise TrialsError(
            f"Metric {metric.name!r} has {int(known.sum())} scores; at least {FEWEST_TRIALS} are "
            "needed to fit it."
        )
    centre, scale = float(scores[known].mean()), float(scores[known].std())
    if scale == 0:
        flat = np.where(known, centre, np.nan)
        none = np.zeros(len(scores))
        return FittedMetric(
            metric, CONSTANT, {}, flat, none, 1.0, np.nan, None, centre, 1.0, (0.0, 0.0)
        )
    standard = (scores - centre) / scale
    # of its own, whatever the order of the metrics
    seeds = (seed + zlib.crc32(metric.name.encode())) % 2**31
    crossed = {name: _cross_validate(name, ratios, standard, folds, known, seeds) for name in names}
    errors = {
        name: float(np.square(mean[known] - standard[known]).mean())
        for name, (mean, _) in crossed.items()
    }
    chosen = min(names, key=lambda name: errors[name])
    mean, std = crossed[chosen]
    model = surrogate_factory(chosen)(seeds).fit(ratios[known], standard[known])
    return FittedMetric(
        metric,
        chosen,
        errors,
        np.where(known, centre + scale * mean, np.nan),
        scale * std,
        _calibrate(standard - mean, std),
        spearman(mean[known], standard[known]),
        model,
        centre,
        scale,
        _clip_range(standard[known]),
    )


def _clip_range(scores: Array) -> tuple[float, float]:
    """The range of the scores and half as much on either side (METHODS §12)."""
    low, high = float(scores.min()), float(scores.max())
    margin = CLIP_MARGIN * (high - low)
    return low - margin, high + margin


def _cross_validate(
    name: str, ratios: Array, scores: Array, folds: np.ndarray, known: np.ndarray, seed: int
) -> tuple[Array, Array]:
    """Out-of-fold mean and standard deviation of each trial (`n` each)."""
    mean, std = np.zeros(len(scores)), np.ones(len(scores))
    for fold in np.unique(folds):
        learn, test = known & (folds != fold), folds == fold
        model = surrogate_factory(name)(seed).fit(ratios[learn], scores[learn])
        mean[test], std[test] = model.predict(ratios[test])
    return mean, std


def _calibrate(errors: Array, stds: Array) -> float:
    """Root mean square of errors in units of their standard deviations, at least one."""
    usable = np.isfinite(errors) & np.isfinite(stds) & (stds > 0)
    if not usable.any():
        return 1.0
    return max(1.0, float(np.sqrt(np.square(errors[usable] / stds[usable]).mean())))
