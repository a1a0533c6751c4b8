"""Stack surrogate models: weights by cross-validation, predictions bounded to the scores' range.

No model is the best on every table, so several are fitted, and each is weighted by its error on
runs outside of its fit. All numbers here come from the fitted runs, none from test runs.
See docs/methods.md, section 4.1. Scores are standardized, lower better.
Shapes: `n` runs, `d` domains, `m` metrics, `l` models.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mixopt.estimate import Z80, Z95
from mixopt.mixture import Array
from mixopt.surrogates.base import (
    MIN_TRIALS,
    SurrogateModel,
    is_differentiable,
    smooth_part,
    smooth_share,
)
from mixopt.surrogates.calibration import CriticalValues, calibrate
from mixopt.surrogates.kernels import matern52, square_distances
from mixopt.surrogates.repeats import assign_folds

log = logging.getLogger(__name__)

CLIP_MARGIN = 0.5  # share of the scores' range by which predictions may leave it, on either side
POWER = 2.0  # power of the squared error that a model's weight is inverse to
SCREENED_FROM, SAMPLE, LEAST_WEIGHT = 8000, 10, 0.05
"""Number of scores from which models are screened on a sample of metrics, the sample's size, and
the least mean weight of a model that is kept."""
FEWEST_LEFT_OUT = 3  # mixtures of a higher fidelity from which runs are left out of its correction
LENGTH = 0.5
"""Distance ‖√r − √r'‖ over which errors of trees change, as those of a lower fidelity do."""
SUM_WEIGHT = 1e4  # weight of Σ weights = 1 in the stacking regression


@dataclass(frozen=True, eq=False)
class StackedModel:
    """Fitted models and their weights.

    Attributes:
        models: By name.
        weights: Of each model for each metric (`l x m`), summing to one over the models.
        scales: Factor on each model's standard deviation (`l x m`).
        low: Smallest prediction (`m`).
        high: Largest prediction (`m`).
        cv_errors: Squared out-of-fold error of each model (`l x m`), in units of the variance.
        cv_means: Out-of-fold predictions of the runs (`n x m`).
        cv_stds: Their standard deviations before calibration (`n x m`).
        critical_values: Calibrated half-widths of intervals, by metric.
    """

    models: Mapping[str, SurrogateModel]
    weights: Array
    scales: Array
    low: Array
    high: Array
    cv_errors: Array
    cv_means: Array
    cv_stds: Array
    critical_values: CriticalValues

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Return mean and uncalibrated standard deviation (`n x m` each) of new runs."""
        pairs = [model.predict(ratios) for model in self.models.values()]
        means, stds = np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])
        return _combine(means, stds, self.weights, self.scales, (self.low, self.high))

    def differences(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Return noise-free scores at `ratios` (`n x d`) minus those at `reference` (`d`).

        The uncertainty is that of the models, plus their disagreement about the difference.

        Returns:
            Mean and standard deviation of the difference (`n x m` each).
        """
        mean, there, std = self.compare(ratios, reference)
        return mean - there, std

    def compare(self, ratios: Array, reference: Array) -> tuple[Array, Array, Array]:
        """Return `differences` in parts.

        Returns:
            Mean at `ratios` (`n x m`), at `reference` (`1 x m`), and standard deviation of the
            difference (`n x m`).
        """
        means, there, variances = self._each_apart(ratios, reference)
        bounds = (self.low, self.high)
        mean = np.einsum("lm,lnm->nm", self.weights, np.clip(means, *bounds))
        at_reference = np.einsum("lm,lnm->nm", self.weights, np.clip(there, *bounds))
        widest = self.high - self.low
        apart = np.clip(means - there, -widest, widest)
        middle = np.einsum("lm,lnm->nm", self.weights, apart)
        disagreement = np.square(np.clip(apart - middle, -widest, widest))
        spread = np.minimum(variances, widest * widest) + disagreement
        std = np.sqrt(np.einsum("lm,lnm->nm", self.weights, spread))
        # what clipping removes from one of the two adds to the uncertainty of the difference
        beyond = (means - np.clip(means, *bounds)) - (there - np.clip(there, *bounds))
        clipped = np.minimum(np.einsum("lm,lnm->nm", self.weights, np.abs(beyond)), widest)
        return mean, at_reference, std + clipped

    def _each_apart(self, ratios: Array, reference: Array) -> tuple[Array, Array, Array]:
        """Return each model's unbounded mean, that at `reference`, and the variance of their difference.

        The variance of a model without covariances is that of two predictions, correlated as the
        correction of a lower fidelity is: trees see no difference inside a leaf, and are not sure of it.

        Returns:
            `l x n x m`, `l x 1 x m` and `l x n x m`.
        """
        points, other = np.vstack([ratios, reference]), reference[None]
        away = 1 - matern52(square_distances(np.sqrt(ratios), np.sqrt(other)), LENGTH)
        means, there, variances = [], [], []
        for model, scale in zip(self.models.values(), self.scales, strict=True):
            if is_differentiable(model):
                apart, variance = model.contrast(ratios, reference)
                at_reference = model.mean(other)
                mean = at_reference + apart
            else:
                both, std = model.predict(points)
                mean, at_reference = both[:-1], both[-1:]
                variance = (np.square(std[:-1]) + np.square(std[-1])) * away
            means.append(mean)
            there.append(at_reference)
            variances.append(np.square(scale) * variance)
        return np.stack(means), np.stack(there), np.stack(variances)

    def mean(self, ratios: Array, *, smooth: bool = True) -> Array:
        """Return the mean alone (`n x m`); with `smooth`, the differentiable models' part of it."""
        total = np.zeros((len(ratios), self.weights.shape[1]))
        for model, share in zip(self.models.values(), self.weights, strict=True):
            if is_differentiable(model):
                mean = smooth_part(model, ratios) if smooth else model.mean(ratios)
                total += share * np.clip(mean, self.low, self.high)
            elif not smooth:
                total += share * np.clip(model.predict(ratios)[0], self.low, self.high)
        return total

    def smooth_means(self, ratios: Array) -> dict[str, Array]:
        """Return the unbounded means (`n x m`) of the differentiable models with a weight."""
        shares = zip(self.models.items(), self.weights, strict=True)
        return {
            name: smooth_part(model, ratios)
            for (name, model), share in shares
            if is_differentiable(model) and share.any()
        }

    def combine_smooth(self, means: Mapping[str, Array], n: int) -> Array:
        """Return the weighted mean (`n x m`) of what `smooth_means` returned for `n` mixtures."""
        total = np.zeros((n, self.weights.shape[1]))
        shares = dict(zip(self.models, self.weights, strict=True))
        for name, mean in means.items():
            total += shares[name] * np.clip(mean, self.low, self.high)
        return total

    def gradient(
        self, ratios: Array, weights: Array, means: Mapping[str, Array] | None = None
    ) -> Array:
        """Return the gradient (`n x d`) of Σ_m weights_nm · mean_nm with respect to the ratios.

        Args:
            ratios: `n x d`.
            weights: `n x m`.
            means: What `smooth_means` returned for the same ratios, if that is known.
        """
        gradient = np.zeros(ratios.shape)
        shares = dict(zip(self.models, self.weights, strict=True))
        for name, mean in (self.smooth_means(ratios) if means is None else means).items():
            model = self.models[name]
            assert is_differentiable(model)
            inside = (mean > self.low) & (mean < self.high)
            gradient += model.gradient(ratios, weights * shares[name] * inside)
        return gradient

    @property
    def differentiable_share(self) -> float:
        """Mean weight of the differentiable models, and of what is so below them."""
        shares = [smooth_share(model) for model in self.models.values()]
        return float(np.array(shares) @ self.weights.mean(axis=1))


@dataclass(frozen=True, eq=False)
class PseudoObservations:
    """Rows around runs, made from derivative information: fitted to, never tested on.

    Attributes:
        ratios: `e x d`.
        scores: `e x m`, in the units of the runs' scores.
        parents: Index of the run that each belongs to (`e`).
    """

    ratios: Array
    scores: Array
    parents: NDArray[np.intp]


def fit_stacked_model(
    models: Mapping[str, SurrogateModel],
    ratios: Array,
    scores: Array,
    noise: Array,
    *,
    seed: int,
    pseudo: PseudoObservations | None = None,
    reach: tuple[Array, Array] | None = None,
) -> StackedModel:
    """Fit `models` and weight them by cross-validation.

    Args:
        models: Unfitted, by name.
        ratios: `n x d`.
        scores: `n x m`, standardized, lower better, NaN where missing.
        noise: Sampling variances (`n x m`), 0 where unknown.
        seed: Seed of the assignment to folds.
        pseudo: Further rows to fit to.
        reach: Limits that predictions may reach (`m` each) where the runs' own are narrower, from
            cheaper runs of the same metrics.

    Returns:
        The fitted models; equal weights and no calibration where there are too few runs.
    """
    if scores.size > SCREENED_FROM and scores.shape[1] >= 2 * SAMPLE:
        models = _screen(models, ratios, scores, noise, seed)
    every: tuple[Array, ...] = ratios, scores, noise
    parents = np.arange(len(ratios))
    if pseudo is not None:
        below = pseudo.ratios, pseudo.scores, noise[pseudo.parents]
        every = tuple(map(np.vstack, zip(every, below, strict=True)))
        parents = np.concatenate([parents, pseudo.parents])
    fitted = {name: model.fit(*every) for name, model in models.items()}
    folds = assign_folds(ratios, seed)
    few = len(scores) < MIN_TRIALS
    counts = np.isfinite(scores).sum(axis=0)
    # a correction of cheaper runs has a prior, so that a few left-out runs tell its width
    left_out = len(np.unique(folds)) >= FEWEST_LEFT_OUT and counts.min() >= FEWEST_LEFT_OUT
    if (few and not (left_out and reach is not None)) or len(np.unique(folds)) < 2:
        return _equal_weights(fitted, scores)
    bounds = _clip_range(scores)
    if reach is not None:
        bounds = np.minimum(bounds[0], reach[0]), np.maximum(bounds[1], reach[1])
    means = np.zeros((len(models), *scores.shape))
    stds = np.ones_like(means)
    for fold in np.unique(folds):
        train, test = folds[parents] != fold, folds == fold
        for index, model in enumerate(fitted.values()):
            again = model.refit(*(table[train] for table in every))
            means[index, test], stds[index, test] = again.predict(ratios[test])
    errors = np.square(np.clip(means, *bounds) - scores)
    squares = np.nanmean(errors, axis=1)
    weights = _model_weights(np.clip(means, *bounds), scores, squares)
    scales = np.sqrt(np.nanmean(np.square((means - scores) / stds), axis=1))
    if few:  # so few residuals of one metric weigh no models and are no scale
        weights, scales = np.full(weights.shape, 1 / len(models)), np.ones(scales.shape)
    cv_means, cv_stds = _combine(means, stds, weights, scales, bounds)
    critical = calibrate(scores - cv_means, cv_stds)
    return StackedModel(fitted, weights, scales, *bounds, squares, cv_means, cv_stds, critical)


def _screen(
    models: Mapping[str, SurrogateModel], ratios: Array, scores: Array, noise: Array, seed: int
) -> Mapping[str, SurrogateModel]:
    """Return the models with at least `LEAST_WEIGHT` on a sample of the metrics."""
    m = scores.shape[1]
    sample = np.sort(np.random.default_rng(seed).permutation(m)[:SAMPLE])
    trial = fit_stacked_model(models, ratios, scores[:, sample], noise[:, sample], seed=seed)
    weights = dict(zip(trial.models, trial.weights.mean(axis=1), strict=True))
    kept = {name: model for name, model in models.items() if weights.get(name, 0.0) >= LEAST_WEIGHT}
    log.info("Left out after a screening on %d metrics: %s.", SAMPLE,
             ", ".join(sorted(set(models) - set(kept))) or "nothing")  # fmt: skip
    return kept


def _equal_weights(models: Mapping[str, SurrogateModel], scores: Array) -> StackedModel:
    """Return the models at equal weights, uncalibrated: too few runs to cross-validate."""
    shape, m = (len(models), scores.shape[1]), scores.shape[1]
    blank = np.full(scores.shape, np.nan)
    return StackedModel(
        models, np.full(shape, 1 / len(models)), np.ones(shape), np.full(m, -np.inf),
        np.full(m, np.inf), np.full(shape, np.nan), blank, blank,
        CriticalValues(np.full(m, Z80), np.full(m, Z95)),
    )  # fmt: skip


def _clip_range(scores: Array) -> tuple[Array, Array]:
    low, high = np.nanmin(scores, axis=0), np.nanmax(scores, axis=0)
    margin = CLIP_MARGIN * (high - low)
    return low - margin, high + margin


def _combine(
    means: Array, stds: Array, weights: Array, scales: Array, bounds: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Return the weighted mean (`n x m`) of bounded predictions (`l x n x m`), and its std.

    The standard deviation adds the models' own, their disagreement, and the clipped excess. Each
    model's own is bounded by the range of the scores, as its mean is.
    """
    bounded = np.clip(means, *bounds)
    mean = np.einsum("lm,lnm->nm", weights, bounded)
    widest = (bounds[1] - bounds[0]) / (1 + 2 * CLIP_MARGIN)
    own = np.square(np.minimum(stds * scales[:, None, :], widest)) + np.square(bounded - mean)
    clipped = np.einsum("lm,lnm->nm", weights, np.abs(means - bounded))
    # an unbounded model may extrapolate absurdly far: its excess is bounded too
    clipped = np.minimum(clipped, bounds[1] - bounds[0])
    return mean, np.sqrt(np.einsum("lm,lnm->nm", weights, own)) + clipped


def _model_weights(means: Array, scores: Array, squares: Array) -> Array:
    """Return weights of the models (`l x m`): the mean of two rules.

    By error: a metric's squared errors, shrunk geometrically to their mean over metrics, to the
    power −`POWER`. By stacking (Breiman 1996): the non-negative combination that predicts best,
    shared by all metrics, because one metric's runs are too few to separate models.
    """
    relative = squares / squares.mean(axis=0)
    shrunk = np.sqrt(relative * relative.mean(axis=1, keepdims=True))
    by_error = np.maximum(shrunk, 1e-9) ** -POWER
    by_error /= by_error.sum(axis=0)
    known = np.isfinite(scores)
    design = np.stack([mean[known] for mean in means], axis=1)
    design = np.vstack([design, np.full((1, len(means)), SUM_WEIGHT)])
    stacked, _ = nnls(design, np.append(scores[known], SUM_WEIGHT))
    return np.asarray((by_error + (stacked / stacked.sum())[:, None]) / 2)
