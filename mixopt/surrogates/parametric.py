"""Models with a fixed number of parameters, fitted to all metrics in one batch.

Shapes: `n` mixtures, `d` domains, `m` metrics, `p` parameters.
"""

from typing import Protocol

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.least_squares import Prior, hessian, levenberg_marquardt, update_noise

STEPS, REFIT_STEPS, ROUNDS = 30, 8, 3
FIRST_NOISE = 0.05


class Formula(Protocol):
    """A parametric curve in standardized scores, lower better."""

    def prior(self, m: int, d: int) -> Prior:
        """Return the normal prior of the parameters, `m x p`."""

    def starts(self, m: int, d: int) -> list[Array]:
        """Return starting parameters (`m x p` each); the fit keeps the best end of each metric."""

    def evaluate(self, parameters: Array, ratios: Array) -> tuple[Array, Array]:
        """Return values (`m x n`) and Jacobians (`m x n x p`) at `m x p` parameters."""

    def gradient(self, parameters: Array, ratios: Array, weights: Array) -> Array:
        """Return the gradient (`n x d`) of Σ_m weights_nm · value_mn with respect to the ratios."""


class ParametricModel:
    """A formula fitted by regularized least squares; standard deviations by the delta method.

    Args:
        formula: The curve, its prior and its starting parameters (`m x p`).
        huber: Residuals beyond this number of noise standard deviations have linear loss.
    """

    def __init__(self, formula: Formula, *, huber: float = np.inf) -> None:
        self._formula, self._huber = formula, huber
        self._parameters = self._noise = np.zeros(0)
        self._roots = np.zeros((0, 0, 0))

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "ParametricModel":
        starts = self._formula.starts(scores.shape[1], ratios.shape[1])
        own = np.full(scores.shape[1], FIRST_NOISE)
        return self._fit(ratios, scores, noise, starts, own, STEPS)

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "ParametricModel":
        other = ParametricModel(self._formula, huber=self._huber)
        return other._fit(ratios, scores, noise, [self._parameters], self._noise, REFIT_STEPS)

    def _fit(
        self,
        ratios: Array,
        scores: Array,
        noise: Array,
        starts: list[Array],
        own: Array,
        steps: int,
    ) -> "ParametricModel":
        known = np.isfinite(scores)
        z, extra = np.where(known, scores, 0.0).T, np.where(known, noise, np.inf).T
        prior = self._formula.prior(len(z), ratios.shape[1])

        def curve(parameters: Array) -> tuple[Array, Array]:
            return self._formula.evaluate(parameters, ratios)

        variance = own[:, None] + extra
        best, least = starts[0], np.full(len(z), np.inf)
        for start in starts:
            end, cost = levenberg_marquardt(curve, start, z, variance, prior, steps)
            best = np.where((cost < least)[:, None], end, best)
            least = np.minimum(cost, least)
        for _ in range(ROUNDS):
            values, jacobian = curve(best)
            curvature = hessian(jacobian, 1 / variance, prior)
            covariance = np.asarray(np.linalg.inv(curvature), dtype=np.float64)
            own = update_noise(z - values, jacobian, covariance, extra, own)
            variance = (own[:, None] + extra) * self._huber_factors(z - values, own)
            best, _ = levenberg_marquardt(curve, best, z, variance, prior, REFIT_STEPS)
        _, jacobian = curve(best)
        curvature = hessian(jacobian, 1 / variance, prior)
        self._parameters, self._noise = best, own
        self._roots = np.linalg.cholesky(np.linalg.inv(curvature))
        return self

    def _huber_factors(self, residuals: Array, own: Array) -> Array:
        """Return Huber's weights as factors on the noise (`m x n`), one inside the threshold."""
        size = np.abs(residuals) / np.sqrt(own)[:, None]
        return np.maximum(size / self._huber, 1.0)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        values, jacobian = self._formula.evaluate(self._parameters, ratios)
        variance = np.square(jacobian @ self._roots).sum(axis=2) + self._noise[:, None]
        return values.T, np.sqrt(variance).T

    def mean(self, ratios: Array) -> Array:
        values, _ = self._formula.evaluate(self._parameters, ratios)
        return values.T

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        values, jacobian = self._formula.evaluate(self._parameters, ratios)
        value, there = self._formula.evaluate(self._parameters, reference[None])
        variance = np.square((jacobian - there) @ self._roots).sum(axis=2)
        return (values - value).T, variance.T

    def gradient(self, ratios: Array, weights: Array) -> Array:
        return self._formula.gradient(self._parameters, ratios, weights)
