"""Laws with a fixed number of parameters, one fit per metric, all metrics in one batch.

Shapes: `n` mixtures, `d` domains, `m` metrics, `p` parameters, `q` points.
"""

from typing import Protocol

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.least_squares import Prior, descend, hessian, invert, update_noise

STEPS, REFIT_STEPS, ROUNDS = 30, 8, 3
FIRST_NOISE = 0.05


class Formula(Protocol):
    """A law's equation in standardised scores, lower better."""

    def prior(self, m: int, d: int) -> Prior:
        """Normal prior of the parameters, `m x p`."""

    def starts(self, m: int, d: int) -> list[Array]:
        """Parameters (`m x p`) to start from; the best end is kept."""

    def evaluate(self, parameters: Array, ratios: Array) -> tuple[Array, Array]:
        """Values (`m x n`) and Jacobians (`m x n x p`)."""

    def slopes(self, parameters: Array, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) by the ratios of Σ_m weights_nm · value_mn."""


class ParametricModel:
    """A formula fitted by penalised least squares; standard deviations by the delta method.

    Args:
        formula: The equation, its prior and where to start.
        huber: Residuals beyond so many standard deviations of the noise count linearly.
    """

    def __init__(self, formula: Formula, *, huber: float = np.inf) -> None:
        self._formula, self._huber = formula, huber
        self._parameters = self._noise = np.zeros(0)
        self._roots = np.zeros((0, 0, 0))

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "ParametricModel":
        """Itself, fitted to `n x d` ratios and `n x m` scores; `noise` is as in the protocol."""
        starts = self._formula.starts(scores.shape[1], ratios.shape[1])
        own = np.full(scores.shape[1], FIRST_NOISE)
        return self._fit(ratios, scores, noise, starts, own, STEPS)

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "ParametricModel":
        """Another, fitted to other runs from these parameters."""
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
            end, cost = descend(curve, start, z, variance, prior, steps)
            best = np.where((cost < least)[:, None], end, best)
            least = np.minimum(cost, least)
        for _ in range(ROUNDS):
            values, jacobian = curve(best)
            covariance = invert(hessian(jacobian, 1 / variance, prior))
            own = update_noise(z - values, jacobian, covariance, extra, own)
            variance = (own[:, None] + extra) * self._dilute(z - values, own)
            best, _ = descend(curve, best, z, variance, prior, REFIT_STEPS)
        _, jacobian = curve(best)
        curvature = hessian(jacobian, 1 / variance, prior)
        self._parameters, self._noise = best, own
        self._roots = np.asarray(np.linalg.cholesky(invert(curvature)), dtype=np.float64)
        return self

    def _dilute(self, residuals: Array, own: Array) -> Array:
        """Huber's weights as dilutions of the noise (`m x n`), one inside the threshold."""
        size = np.abs(residuals) / np.sqrt(own)[:, None]
        return np.maximum(size / self._huber, 1.0)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n x m` each), observation noise included."""
        values, jacobian = self._formula.evaluate(self._parameters, ratios)
        variance = np.square(jacobian @ self._roots).sum(axis=2) + self._noise[:, None]
        return values.T, np.sqrt(variance).T

    def mean(self, ratios: Array) -> Array:
        """Expected scores (`n x m`)."""
        values, _ = self._formula.evaluate(self._parameters, ratios)
        return values.T

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Noise-free scores minus those at `reference`: mean and variance (`n x m` each)."""
        values, jacobian = self._formula.evaluate(self._parameters, ratios)
        value, there = self._formula.evaluate(self._parameters, reference[None])
        variance = np.square((jacobian - there) @ self._roots).sum(axis=2)
        return (values - value).T, variance.T

    def slopes(self, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) by the ratios of Σ_m weights_nm · mean_nm."""
        return self._formula.slopes(self._parameters, ratios, weights)
