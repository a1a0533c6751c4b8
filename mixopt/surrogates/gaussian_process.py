"""Gaussian processes on √r (whose distance is Hellinger's) or log r, with a length per domain.

See docs/methods.md, section 3.5. Shapes: `n` mixtures, `d` domains, `m` metrics.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from mixopt.mixture import Array
from mixopt.surrogates.features import FEATURES, FeatureName, scale_features
from mixopt.surrogates.kernels import (
    KernelExpansions,
    matern52,
    matern52_slope,
    square_distances,
    to_storage_precision,
)
from mixopt.surrogates.minimize import minimize

PRIOR_MEANS = np.log([1.0, 0.3, 0.03])
"""Of log amplitude, log linear variance and log noise, in standardized units."""
PRIOR_SDS = np.array([1.0, 1.5, 1.5])
LENGTH, LENGTH_SD = np.log(2.0), 1.0
"""Prior of a domain's log length, in units of √d times its feature's standard deviation."""
REACH = 3.5  # bound of the hyperparameters, in prior standard deviations around the prior mean
STEPS, REFIT_STEPS = 60, 8
MOST_RUNS = 128  # runs that hyperparameters are fitted to; predictions use all runs
MISSING = 1e6  # noise variance of a missing score, in standardized units


@dataclass(frozen=True, eq=False)
class _Posterior:
    """One metric's posterior.

    Attributes:
        theta: Logarithms of amplitude, linear variance, noise and lengths (`3 + d`).
        points: Features of the runs divided by the lengths (`n x d`).
        factor: Cholesky factor of the covariance (`n x n`).
        alpha: Inverse covariance times scores (`n`).
    """

    theta: Array
    amplitude: float
    linear: float
    noise: float
    lengths: Array
    points: Array
    factor: Array
    alpha: Array


class GaussianProcess:
    """A Matérn-5/2 kernel with a length for each domain (ARD), plus a linear kernel.

    Hyperparameters maximize their posterior (penalized marginal likelihood).

    Args:
        features: Transform of the ratios (`n x d`).
    """

    def __init__(self, features: FeatureName) -> None:
        self._features = features
        self._mean = self._scale = np.zeros(1)
        self._points = np.zeros((0, 1))
        self._posteriors: list[_Posterior] = []

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "GaussianProcess":
        raw = FEATURES[self._features].values(ratios)
        self._mean = raw.mean(axis=0)
        self._scale = scale_features(self._features, raw.std(axis=0)) * np.sqrt(ratios.shape[1])
        starts = [_prior(ratios.shape[1])[0]] * scores.shape[1]
        return self._condition(ratios, scores, noise, starts, STEPS)

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "GaussianProcess":
        other = GaussianProcess(self._features)
        other._mean, other._scale = self._mean, self._scale
        starts = [posterior.theta for posterior in self._posteriors]
        return other._condition(ratios, scores, noise, starts, REFIT_STEPS)

    def _condition(
        self, ratios: Array, scores: Array, noise: Array, starts: list[Array], steps: int
    ) -> "GaussianProcess":
        self._points = self._standardize(ratios)
        self._posteriors = []
        for m, start in enumerate(starts):
            known = np.isfinite(scores[:, m])
            use = np.flatnonzero(known)[:MOST_RUNS]
            theta = _fit_theta(self._points[use], scores[use, m], noise[use, m], start, steps)
            self._posteriors.append(self._posterior(theta, scores[:, m], noise[:, m]))
        return self

    def _standardize(self, ratios: Array) -> Array:
        return np.asarray((FEATURES[self._features].values(ratios) - self._mean) / self._scale)

    def _posterior(self, theta: Array, scores: Array, noise: Array) -> _Posterior:
        known, lengths = np.isfinite(scores), np.exp(theta[3:])
        amplitude, linear, own = (float(np.exp(log)) for log in theta[:3])
        points = self._points / lengths
        near = matern52(square_distances(points, points), 1.0)
        covariance = amplitude * near + linear * self._points @ self._points.T
        covariance[np.diag_indices(len(points))] += own + np.where(known, noise, MISSING)
        factor = cholesky(covariance, lower=True, check_finite=False)
        alpha = cho_solve((factor, True), np.where(known, scores, 0.0))
        factor = to_storage_precision(factor)
        return _Posterior(theta, amplitude, linear, own, lengths, points, factor, alpha)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        x = self._standardize(ratios)
        means, variances = [], []
        for one in self._posteriors:
            cross = self._cross(one, x)
            half = solve_triangular(one.factor, cross.T, lower=True, check_finite=False)
            own = one.amplitude + one.linear * np.square(x).sum(axis=1)
            means.append(cross @ one.alpha)
            variances.append(np.maximum(own - np.square(half).sum(axis=0), 0.0) + one.noise)
        return np.stack(means, axis=1), np.sqrt(np.stack(variances, axis=1))

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        both = self._standardize(np.vstack([ratios, reference]))
        x, there = both[:-1], both[-1:]
        means, variances = [], []
        for one in self._posteriors:
            cross = self._cross(one, x) - self._cross(one, there)
            half = solve_triangular(one.factor, cross.T, lower=True, check_finite=False)
            near = matern52(square_distances(x / one.lengths, there / one.lengths), 1.0)[:, 0]
            own = 2 * one.amplitude * (1 - near) + one.linear * np.square(x - there).sum(axis=1)
            means.append(cross @ one.alpha)
            variances.append(np.maximum(own - np.square(half).sum(axis=0), 0.0))
        return np.stack(means, axis=1), np.stack(variances, axis=1)

    def mean(self, ratios: Array) -> Array:
        x = self._standardize(ratios)
        return np.asarray(self._expansions.values(x).T + x @ self._linear.T)

    def gradient(self, ratios: Array, weights: Array) -> Array:
        x = self._standardize(ratios)
        by_feature = self._expansions.gradient(x, weights.T) + weights @ self._linear
        return np.asarray(by_feature / self._scale * FEATURES[self._features].derivative(ratios))

    @cached_property
    def _expansions(self) -> KernelExpansions:
        alphas = np.stack([one.amplitude * one.alpha for one in self._posteriors])
        inverse_lengths = np.stack([1 / one.lengths for one in self._posteriors])
        return KernelExpansions(self._points, alphas, inverse_lengths)

    @cached_property
    def _linear(self) -> Array:
        return np.stack([one.linear * one.alpha @ self._points for one in self._posteriors])

    def _cross(self, one: _Posterior, x: Array) -> Array:
        near = matern52(square_distances(x / one.lengths, one.points), 1.0)
        return np.asarray(one.amplitude * near + one.linear * x @ self._points.T)


def _prior(d: int) -> tuple[Array, Array]:
    means = np.concatenate([PRIOR_MEANS, np.full(d, LENGTH)])
    return means, np.concatenate([PRIOR_SDS, np.full(d, LENGTH_SD)])


def _fit_theta(x: Array, z: Array, extra: Array, start: Array, steps: int) -> Array:
    """Return the log hyperparameters (`3 + d`) of highest posterior (R&W, eq. 5.8-5.9)."""
    means, sds = _prior(x.shape[1])
    objective = _negative_log_posterior(x, z, extra, means, sds)
    bounds = np.stack([means - REACH * sds, means + REACH * sds], axis=1)
    return minimize(objective, start, method="L-BFGS-B", bounds=bounds, steps=steps)


def _negative_log_posterior(
    x: Array, z: Array, extra: Array, means: Array, sds: Array
) -> Callable[[Array], tuple[float, Array]]:
    inner, unit, diagonal = x @ x.T, np.eye(len(z)), np.diag_indices(len(z))

    def objective(theta: Array) -> tuple[float, Array]:
        amplitude, linear, own = np.exp(theta[:3])
        points = x / np.exp(theta[3:])
        square = square_distances(points, points)
        near = matern52(square, 1.0)
        covariance = amplitude * near + linear * inner
        covariance[diagonal] += own + extra
        factor = cholesky(covariance, lower=True, check_finite=False)
        inverse = cho_solve((factor, True), unit, check_finite=False)
        alpha = inverse @ z
        by_covariance = np.outer(alpha, alpha) - inverse
        # Σ_ab W_ab (x_a - x_b)² by domain, without an n x n x d array
        weight = by_covariance * matern52_slope(square, 1.0) * amplitude
        spread = weight.sum(axis=1) @ np.square(points) - (points * (weight @ points)).sum(axis=0)
        by_scalar = [amplitude * (by_covariance * near).sum(),
                     linear * (by_covariance * inner).sum(), own * np.trace(by_covariance)]  # fmt: skip
        gradient = 0.5 * np.concatenate([by_scalar, -2 * spread])
        away = (theta - means) / sds
        value = 0.5 * z @ alpha + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        return float(value), away / sds - gradient

    return objective
