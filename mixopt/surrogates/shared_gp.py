"""A Gaussian process whose hyperparameters all metrics share.

The few noisy scores of one metric do not tell noise from a short length; all metrics together do. And
one factor serves all metrics with the same runs, which is cheap where there are a hundred metrics. See
docs/methods.md, section 3.5. Shapes: `n` mixtures, `d` domains, `m` metrics, `c` centers.
"""

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.base import MIN_TRIALS
from mixopt.surrogates.covariance import choose_centers
from mixopt.surrogates.features import FEATURES
from mixopt.surrogates.gaussian_process import MOST_RUNS, GaussianProcess, fit_theta
from mixopt.surrogates.kernels import matern52_slope, square_distances


class SharedGaussianProcess(GaussianProcess):
    """`GaussianProcess` with the same hyperparameters for all metrics, of highest mean likelihood."""

    def fit_hyperparameters(
        self, points: Array, scores: Array, noise: Array, starts: list[Array], steps: int
    ) -> list[Array]:
        complete = np.isfinite(scores).all(axis=1)
        # with too few complete runs, a missing score counts as the mean of its metric
        rows = np.flatnonzero(complete if complete.sum() >= MIN_TRIALS else ~complete | complete)
        use = rows[choose_centers(points[rows], MOST_RUNS)]
        z = np.where(np.isfinite(scores[use]), scores[use], 0.0)
        theta = fit_theta(points[use], z, noise[use].mean(axis=1), starts[0], steps)
        return [theta] * len(starts)

    def mean(self, ratios: Array) -> Array:
        x = self._standardize(ratios)
        means = self._empty(len(x))
        for one in self._posteriors:
            means[:, one.metrics] = self._cross(one, x) @ one.alpha
        return means

    def gradient(self, ratios: Array, weights: Array) -> Array:
        x = self._standardize(ratios)
        by_feature = np.zeros(x.shape)
        for one in self._posteriors:
            coefficients = weights[:, one.metrics] @ one.alpha.T
            slope = matern52_slope(square_distances(x / one.lengths, one.points), 1.0)
            steep = one.amplitude * slope * coefficients
            away = steep.sum(axis=1, keepdims=True) * x - steep @ self._points
            by_feature += away / np.square(one.lengths)
            by_feature += one.linear * coefficients @ self._points
        return np.asarray(by_feature / self._scale * FEATURES[self._features].derivative(ratios))
