"""Gaussian processes on √r (whose distance is Hellinger's) or log r, with a length per domain.

See docs/methods.md, section 3.5. Shapes: `n` mixtures, `d` domains, `m` metrics, `c` centers, `g`
metrics of one posterior.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky
from scipy.linalg.lapack import dpotri

from mixopt.mixture import Array
from mixopt.surrogates.covariance import (
    EXACT,
    Covariance,
    ExactCovariance,
    LowRankCovariance,
    choose_centers,
)
from mixopt.surrogates.features import FEATURES, FeatureName, scale_features
from mixopt.surrogates.kernels import (
    KernelExpansions,
    matern52,
    matern52_with_slope,
    square_distances,
)
from mixopt.surrogates.minimize import minimize

PRIOR_MEANS = np.log([1.0, 0.3, 0.03])
"""Of log amplitude, log linear variance and log noise, in standardized units."""
PRIOR_SDS = np.array([1.0, 1.5, 1.5])
LENGTH, LENGTH_SD = np.log(2.0), 1.0
"""Prior of a domain's log length, in units of √d times its feature's standard deviation."""
REACH = 3.5  # bound of the hyperparameters, in prior standard deviations around the prior mean
STEPS, REFIT_STEPS, REFIT_STEPS_OF_MANY = 60, 8, 0
"""Most steps of a fit, and of a refit without some runs; beyond `EXACT` runs a fold hardly matters."""
TOLERANCE = 1e-6
"""Relative change of the log posterior at which a fit ends: a quarter fewer steps than SciPy's 2e-9, and
predictions that differ by less than .06 of their standard deviations (13 metrics of RegMix's runs)."""
MOST_RUNS = (
    128  # runs that hyperparameters are fitted to, spread over all; predictions use all runs
)
MISSING = 1e6  # noise variance of a missing score, in standardized units


@dataclass(frozen=True, eq=False)
class _Posterior:
    """The posterior of metrics with the same hyperparameters, missing scores and noise.

    Attributes:
        metrics: Their places (`g`).
        theta: Logarithms of amplitude, linear variance, noise and lengths (`3 + d`).
        points: Features of the centers divided by the lengths (`c x d`).
        covariance: Of the runs' scores.
        alpha: Coefficients of the centers' kernels (`c x g`).
    """

    metrics: NDArray[np.intp]
    theta: Array
    amplitude: float
    linear: float
    noise: float
    lengths: Array
    points: Array
    covariance: Covariance
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
        other = type(self)(self._features)
        other._mean, other._scale = self._mean, self._scale
        starts = [one.theta for one, _ in self._by_metric()]
        steps = REFIT_STEPS if len(ratios) <= EXACT else REFIT_STEPS_OF_MANY
        return other._condition(ratios, scores, noise, starts, steps)

    def _condition(
        self, ratios: Array, scores: Array, noise: Array, starts: list[Array], steps: int
    ) -> "GaussianProcess":
        points = self._standardize(ratios)
        centers = choose_centers(points)
        self._points = points[centers]
        thetas = self.fit_hyperparameters(points, scores, noise, starts, steps)
        alike: dict[bytes, list[int]] = {}
        for m, theta in enumerate(thetas):
            known = np.isfinite(scores[:, m])
            key = theta.tobytes() + known.tobytes() + noise[:, m].tobytes()
            alike.setdefault(key, []).append(m)
        self._posteriors = [
            self._posterior(places, thetas[places[0]], points, scores, noise[:, places[0]])
            for places in alike.values()
        ]
        return self

    def fit_hyperparameters(
        self, points: Array, scores: Array, noise: Array, starts: list[Array], steps: int
    ) -> list[Array]:
        """Return log hyperparameters by metric (`3 + d` each), from runs that are spread over all."""
        chosen: dict[bytes, NDArray[np.intp]] = {}
        thetas = []
        for m, start in enumerate(starts):
            known = np.isfinite(scores[:, m])
            key = known.tobytes()
            if key not in chosen:
                chosen[key] = np.flatnonzero(known)[choose_centers(points[known], MOST_RUNS)]
            use = chosen[key]
            thetas.append(
                fit_theta(points[use], scores[use, m : m + 1], noise[use, m], start, steps)
            )
        return thetas

    def _standardize(self, ratios: Array) -> Array:
        return np.asarray((FEATURES[self._features].values(ratios) - self._mean) / self._scale)

    def _posterior(
        self, places: list[int], theta: Array, runs: Array, scores: Array, noise: Array
    ) -> _Posterior:
        own_scores, lengths = scores[:, places], np.exp(theta[3:])
        known = np.isfinite(own_scores[:, 0])
        amplitude, linear, own = (float(np.exp(log)) for log in theta[:3])
        centers = self._points / lengths

        def kernel(x: Array) -> Array:
            near = matern52(square_distances(centers, x / lengths), 1.0)
            return np.asarray(amplitude * near + linear * self._points @ x.T)

        diagonal = own + np.where(known, noise, MISSING)
        covariance: Covariance = (
            ExactCovariance(kernel(runs), diagonal)
            if len(centers) == len(runs)
            else LowRankCovariance(kernel(self._points), kernel(runs), diagonal)
        )
        alpha = covariance.coefficients(np.where(known[:, None], own_scores, 0.0))
        return _Posterior(
            np.array(places, dtype=np.intp), theta, amplitude, linear, own, lengths, centers,
            covariance.compact(), alpha,
        )  # fmt: skip

    def _by_metric(self) -> list[tuple[_Posterior, Array]]:
        """Return each metric's posterior and its coefficients (`c`)."""
        found = {
            int(place): (one, one.alpha[:, column])
            for one in self._posteriors
            for column, place in enumerate(one.metrics)
        }
        return [found[place] for place in range(len(found))]

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        x = self._standardize(ratios)
        means, variances = self._empty(len(x)), self._empty(len(x))
        for one in self._posteriors:
            cross = self._cross(one, x)
            own = one.amplitude + one.linear * np.square(x).sum(axis=1)
            explained = one.covariance.explained(one.covariance.directions(cross))
            means[:, one.metrics] = cross @ one.alpha
            variances[:, one.metrics] = (np.maximum(own - explained, 0.0) + one.noise)[:, None]
        return means, np.sqrt(variances)

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        both = self._standardize(np.vstack([ratios, reference]))
        x, there = both[:-1], both[-1:]
        means, variances = self._empty(len(x)), self._empty(len(x))
        for one in self._posteriors:
            cross = self._cross(one, x) - self._cross(one, there)
            near = matern52(square_distances(x / one.lengths, there / one.lengths), 1.0)[:, 0]
            own = 2 * one.amplitude * (1 - near) + one.linear * np.square(x - there).sum(axis=1)
            explained = one.covariance.explained(one.covariance.directions(cross))
            means[:, one.metrics] = cross @ one.alpha
            variances[:, one.metrics] = np.maximum(own - explained, 0.0)[:, None]
        return means, variances

    def _empty(self, n: int) -> Array:
        return np.empty((n, sum(len(one.metrics) for one in self._posteriors)))

    def mean(self, ratios: Array) -> Array:
        x = self._standardize(ratios)
        return np.asarray(self._expansions.values(x).T + x @ self._linear.T)

    def gradient(self, ratios: Array, weights: Array) -> Array:
        x = self._standardize(ratios)
        by_feature = self._expansions.gradient(x, weights.T) + weights @ self._linear
        return np.asarray(by_feature / self._scale * FEATURES[self._features].derivative(ratios))

    @cached_property
    def _expansions(self) -> KernelExpansions:
        every = self._by_metric()
        alphas = np.stack([one.amplitude * alpha for one, alpha in every])
        inverse_lengths = np.stack([1 / one.lengths for one, _ in every])
        return KernelExpansions(self._points, alphas, inverse_lengths)

    @cached_property
    def _linear(self) -> Array:
        return np.stack([one.linear * alpha @ self._points for one, alpha in self._by_metric()])

    def _cross(self, one: _Posterior, x: Array) -> Array:
        near = matern52(square_distances(x / one.lengths, one.points), 1.0)
        return np.asarray(one.amplitude * near + one.linear * x @ self._points.T)


def _prior(d: int) -> tuple[Array, Array]:
    means = np.concatenate([PRIOR_MEANS, np.full(d, LENGTH)])
    return means, np.concatenate([PRIOR_SDS, np.full(d, LENGTH_SD)])


def fit_theta(x: Array, z: Array, extra: Array, start: Array, steps: int) -> Array:
    """Return the log hyperparameters (`3 + d`) of highest posterior (R&W, eq. 5.8-5.9).

    Args:
        x: Standardized features (`n x d`).
        z: Scores (`n x m`); with several metrics, their mean likelihood counts.
        extra: Known noise variances (`n`).
        start: Where the maximization starts (`3 + d`).
        steps: Most iterations; with none, the start is returned.
    """
    if not steps:
        return start
    means, sds = _prior(x.shape[1])
    objective = _negative_log_posterior(x, z, extra, means, sds)
    bounds = np.stack([means - REACH * sds, means + REACH * sds], axis=1)
    return minimize(objective, start, method="L-BFGS-B", bounds=bounds, steps=steps,
                    tolerance=TOLERANCE)  # fmt: skip


def _negative_log_posterior(
    x: Array, z: Array, extra: Array, means: Array, sds: Array
) -> Callable[[Array], tuple[float, Array]]:
    inner, diagonal = x @ x.T, np.diag_indices(len(z))

    def objective(theta: Array) -> tuple[float, Array]:
        amplitude, linear, own = np.exp(theta[:3])
        points = x / np.exp(theta[3:])
        near, slope = matern52_with_slope(square_distances(points, points))
        covariance = amplitude * near + linear * inner
        covariance[diagonal] += own + extra
        factor = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        inverse = _inverse(factor)
        alpha = inverse @ z
        by_covariance = alpha @ alpha.T / z.shape[1]
        by_covariance -= inverse
        # Σ_ab W_ab (x_a - x_b)² by domain, without an n x n x d array
        slope *= by_covariance
        slope *= amplitude
        spread = slope.sum(axis=1) @ np.square(points) - (points * (slope @ points)).sum(axis=0)
        by_scalar = [amplitude * np.vdot(by_covariance, near),
                     linear * np.vdot(by_covariance, inner), own * np.trace(by_covariance)]  # fmt: skip
        gradient = 0.5 * np.concatenate([by_scalar, -2 * spread])
        away = (theta - means) / sds
        value = (
            0.5 * np.vdot(z, alpha) / z.shape[1] + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        )
        return float(value), away / sds - gradient

    return objective


def _inverse(factor: Array) -> Array:
    """Return the inverse of a matrix from its lower Cholesky factor (`n x n`)."""
    inverse, _ = dpotri(factor, lower=True)  # zero above the diagonal, as the factor is
    whole = inverse + inverse.T
    whole[np.diag_indices(len(whole))] *= 0.5
    return np.asarray(whole)
