"""Recursive co-kriging: the surrogate of a low fidelity, corrected by runs of a high fidelity.

    z(r) = a + ρ·c(r) + g(r) + ε,   g ~ GP on √r

c is the prediction of the low fidelity (Kennedy & O'Hagan 2000, fitted one fidelity after the
other). The priors assume a good proxy until runs contradict it: at 8 to 16 runs, plain regression
on proxy and ratios is worse than the proxy alone. Few runs do not identify each metric's variance
of the correction and noise, so the metrics share a prior of both (empirical Bayes).
See docs/methods.md, section 4.6. Shapes: `n` mixtures, `d` domains, `m` metrics.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular

from mixopt.mixture import Array
from mixopt.surrogates.covariance import EXACT, choose_centers
from mixopt.surrogates.kernels import matern52, matern52_slope, sqrt_derivative, square_distances
from mixopt.surrogates.minimize import minimize
from mixopt.surrogates.stacking import StackedModel
from mixopt.surrogates.standardization import Standardization

RHO, RHO_VARIANCE = 1.0, 0.1
"""Prior of ρ: both fidelities are in one scale, so a perfect proxy has ρ = 1."""
OFFSET_VARIANCE = 25.0  # prior variance of the constant a, in standardized units: nearly flat
LENGTH = 0.5  # length of the correction g, in Hellinger-like units (‖√r − √r′‖)
PRIOR_MEANS = np.log([0.1, 0.1])
"""Of log variance of the correction and log noise, in standardized units."""
PRIOR_SDS = np.array([1.2, 1.2])
METRIC_SDS = np.array([0.5, 0.5])  # of a metric's own values around the shared ones
STEPS = 40
MOST_RUNS = 1024
"""Runs that a correction is fitted to; of more, a spread choice. Variance and noise are estimated from
at most `EXACT` of them."""
MISSING = 1e6  # noise variance of a missing score, in standardized units


class RescaledModel:
    """A lower fidelity's model for the metrics that vary at a higher fidelity, in that one's scale.

    Both fidelities measure a metric in the same unit, so a proxy that is right up to a constant
    has ρ = 1. With a scale for each, ρ would be the ratio of two spreads, of which one may be that
    of a handful of runs.

    Args:
        own: Standardization of the lower fidelity's `m` metrics.
        model: The lower fidelity's model.
        target: Standardization of the higher fidelity.
    """

    def __init__(self, own: Standardization, model: StackedModel, target: Standardization) -> None:
        self._model = model
        varying = np.flatnonzero(target.varying)
        places = np.cumsum(own.varying) - 1
        known = own.varying[varying]
        self._places = np.where(known, places[varying], -1)
        ratio = own.scales[varying] / target.scales[varying]
        self._stretch = np.where(known, ratio, 1.0)
        apart = (own.centers[varying] - target.centers[varying]) / target.scales[varying]
        self._shift = np.where(known, apart, 0.0)

    def reach(self, ratios: Array, scores: Array) -> tuple[Array, Array]:
        """Return the limits of the lower fidelity's predictions in the higher one's scale (`m` each).

        They are moved by the mean difference of the fidelities at runs of the higher one, so that a
        bias narrows nothing.

        Args:
            ratios: Runs of the higher fidelity (`n x d`).
            scores: Their standardized scores (`n x m`), NaN where missing.
        """
        proxy, _ = self.predict(ratios)
        known = np.isfinite(scores)
        apart = np.where(known, scores - proxy, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        ends = np.stack([self._model.low, self._model.high])
        low, high = np.sort(self._rescale(ends), axis=0) + apart
        unknown = self._places < 0  # constant at the lower fidelity
        return np.where(unknown, np.inf, low), np.where(unknown, -np.inf, high)

    def _pick(self, columns: Array, missing: float) -> Array:
        padded = np.hstack([columns, np.full((len(columns), 1), missing)])
        return np.asarray(padded[:, self._places])

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation, `n x m` each; 0 ± 1 where a metric is constant below."""
        mean, std = self._model.predict(ratios)
        return self._rescale(mean), self._rescale_std(std)

    def mean(self, ratios: Array, *, smooth: bool) -> Array:
        """Return the mean alone (`n x m`); with `smooth`, the differentiable models' part of it."""
        return self._rescale(self._model.mean(ratios, smooth=smooth))

    @property
    def smooth_share(self) -> float:
        """Mean weight of the differentiable models."""
        return self._model.differentiable_share

    def _rescale(self, mean: Array) -> Array:
        return np.asarray(self._pick(mean, 0.0) * self._stretch + self._shift)

    def _rescale_std(self, std: Array) -> Array:
        calibrated = std * self._model.critical_values.factor
        return np.asarray(self._pick(calibrated, 1.0) * self._stretch)

    def differences(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Return scores minus those at `reference` (`d`): mean and standard deviation, `n x m`."""
        mean, std = self._model.differences(ratios, reference)
        return self._pick(mean, 0.0) * self._stretch, self._rescale_std(std)

    def gradient(self, ratios: Array, weights: Array) -> Array:
        """Return the gradient (`n x d`) of Σ_m weights_nm · mean_nm."""
        own = np.zeros((len(ratios), self._model.weights.shape[1] + 1))
        own[:, self._places] = weights * self._stretch
        return self._model.gradient(ratios, own[:, :-1])


@dataclass(frozen=True, eq=False)
class _MetricPosterior:
    """One metric: variance of the correction, noise, Cholesky factor, and K⁻¹ y."""

    process: float
    noise: float
    factor: Array
    alpha: Array


class CoKriging:
    """High-fidelity scores given the surrogate of a lower fidelity.

    Args:
        low_fidelity: The fitted model of the lower fidelity for the same `m` metrics.
    """

    def __init__(self, low_fidelity: RescaledModel) -> None:
        self._low = low_fidelity
        self._roots = self._proxy = np.zeros((0, 0))
        self._posteriors: list[_MetricPosterior] = []

    @property
    def rho(self) -> Array:
        """Posterior mean of ρ by metric (`m`)."""
        pairs = zip(self._proxy.T, self._posteriors, strict=True)
        return np.array([RHO + RHO_VARIANCE * proxy @ one.alpha for proxy, one in pairs])

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "CoKriging":
        # a spread choice of many runs: one factor costs the cube of their number
        own = choose_centers(np.sqrt(ratios), MOST_RUNS)
        ratios, scores, noise = ratios[own], scores[own], noise[own]
        self._roots = np.sqrt(ratios)
        self._proxy, _ = self._low.predict(ratios)
        near = matern52(square_distances(self._roots, self._roots), LENGTH)
        metrics = self._likelihoods(np.arange(len(own)), near, scores, noise)
        few = choose_centers(self._roots, EXACT)
        trial = metrics if len(few) == len(own) else self._likelihoods(few, near, scores, noise)
        count = max(len(metrics), 1)

        def mean_likelihood(theta: Array) -> float:
            return sum(each(theta) for each in trial) / count

        shared = _posterior_mode(mean_likelihood, PRIOR_MEANS, PRIOR_SDS, 1 / count)
        modes = [_posterior_mode(each, shared, METRIC_SDS) for each in trial]
        self._posteriors = [each.posterior(mode) for each, mode in zip(metrics, modes, strict=True)]
        return self

    def _likelihoods(
        self, rows: NDArray[np.intp], near: Array, scores: Array, noise: Array
    ) -> list["_MarginalLikelihood"]:
        """Return the likelihood of each metric by some of the runs."""
        columns = zip(self._proxy[rows].T, scores[rows].T, noise[rows].T, strict=True)
        among = near[np.ix_(rows, rows)]
        return [_MarginalLikelihood(proxy, among, z, extra) for proxy, z, extra in columns]

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "CoKriging":
        return CoKriging(self._low).fit(ratios, scores, noise)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        proxy, proxy_std = self._low.predict(ratios)
        near = matern52(square_distances(np.sqrt(ratios), self._roots), LENGTH)
        means, variances = [], []
        for m, posterior in enumerate(self._posteriors):
            cross = self._cross(m, posterior, proxy[:, m], near)
            half = solve_triangular(posterior.factor, cross.T, lower=True)
            own = OFFSET_VARIANCE + RHO_VARIANCE * np.square(proxy[:, m]) + posterior.process
            means.append(RHO * proxy[:, m] + cross @ posterior.alpha)
            variances.append(np.maximum(own - np.square(half).sum(axis=0), 0.0) + posterior.noise)
        variance = np.stack(variances, axis=1) + np.square(self.rho * proxy_std)
        return np.stack(means, axis=1), np.sqrt(variance)

    def mean(self, ratios: Array) -> Array:
        return self._correct(self._low.mean(ratios, smooth=False), ratios)

    def smooth_mean(self, ratios: Array) -> Array:
        """Return the part of the mean that has a gradient (`n x m`): trees below have none."""
        return self._correct(self._low.mean(ratios, smooth=True), ratios)

    @property
    def smooth_share(self) -> float:
        """Mean weight of the lower fidelity's differentiable models."""
        return self._low.smooth_share

    def _correct(self, proxy: Array, ratios: Array) -> Array:
        near = matern52(square_distances(np.sqrt(ratios), self._roots), LENGTH)
        means = [
            RHO * proxy[:, m] + self._cross(m, posterior, proxy[:, m], near) @ posterior.alpha
            for m, posterior in enumerate(self._posteriors)
        ]
        return np.stack(means, axis=1)

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        points = np.vstack([ratios, reference])
        proxy, _ = self._low.predict(points)
        _, proxy_std = self._low.differences(ratios, reference)
        roots = np.sqrt(points)
        near = matern52(square_distances(roots, self._roots), LENGTH)
        away = matern52(square_distances(roots[:-1], roots[-1:]), LENGTH)[:, 0]
        means, variances = [], []
        for m, posterior in enumerate(self._posteriors):
            cross = self._cross(m, posterior, proxy[:, m], near)
            apart, step = cross[:-1] - cross[-1], proxy[:-1, m] - proxy[-1, m]
            half = solve_triangular(posterior.factor, apart.T, lower=True)
            own = RHO_VARIANCE * np.square(step) + 2 * posterior.process * (1 - away)
            means.append(RHO * step + apart @ posterior.alpha)
            variances.append(np.maximum(own - np.square(half).sum(axis=0), 0.0))
        variance = np.stack(variances, axis=1) + np.square(self.rho * proxy_std)
        return np.stack(means, axis=1), variance

    def gradient(self, ratios: Array, weights: Array) -> Array:
        gradient = self._low.gradient(ratios, weights * self.rho)
        roots = np.sqrt(ratios)
        derivative = matern52_slope(square_distances(roots, self._roots), LENGTH)
        for m, posterior in enumerate(self._posteriors):
            weighted = posterior.process * derivative * posterior.alpha
            by_root = weighted.sum(axis=1, keepdims=True) * roots - weighted @ self._roots
            gradient = gradient + weights[:, m : m + 1] * by_root * sqrt_derivative(ratios)
        return gradient

    def _cross(self, m: int, posterior: _MetricPosterior, proxy: Array, near: Array) -> Array:
        shared = OFFSET_VARIANCE + RHO_VARIANCE * np.outer(proxy, self._proxy[:, m])
        return np.asarray(shared + posterior.process * near)


class _MarginalLikelihood:
    """Negative log marginal likelihood of one metric's correction, by log variance and log noise.

    `near` holds the correlations of the correction (`n x n`); the others are `n` each.
    """

    def __init__(self, proxy: Array, near: Array, z: Array, noise: Array) -> None:
        known = np.isfinite(z)
        self._residuals = np.where(known, np.where(known, z, 0.0) - RHO * proxy, 0.0)
        self._shared = OFFSET_VARIANCE + RHO_VARIANCE * np.outer(proxy, proxy)
        self._near, self._noise = near, np.where(known, noise, MISSING)

    def __call__(self, theta: Array) -> float:
        factor = self._cholesky(theta)
        white = solve_triangular(factor, self._residuals, lower=True)
        return float(0.5 * white @ white + np.log(np.diag(factor)).sum())

    def posterior(self, theta: Array) -> _MetricPosterior:
        factor = self._cholesky(theta)
        process, own = np.exp(theta)
        alpha = cho_solve((factor, True), self._residuals)
        return _MetricPosterior(float(process), float(own), factor, alpha)

    def _cholesky(self, theta: Array) -> Array:
        process, own = np.exp(theta)
        noise = np.diag(own + self._noise)
        return np.asarray(cholesky(self._shared + process * self._near + noise, lower=True))


def _posterior_mode(
    negative_log_likelihood: Callable[[Array], float],
    center: Array,
    widths: Array,
    weight: float = 1.0,
) -> Array:
    """Return the log variance and log noise of highest posterior, prior N(center, widths²)."""

    def objective(theta: Array) -> float:
        away = (theta - center) / widths
        return negative_log_likelihood(theta) + weight * float(0.5 * away @ away)

    bounds = np.stack([center - 4 * widths, center + 4 * widths], axis=1)
    return minimize(objective, center, method="L-BFGS-B", bounds=bounds, steps=STEPS,
                    gradient=False)  # fmt: skip
