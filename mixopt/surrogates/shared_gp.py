"""A Gaussian process on √r whose hyperparameters all metrics share.

The few noisy scores of one metric do not tell noise from a short length; all metrics together do. See
docs/methods.md, section 3.5. Shapes: `n` mixtures, `d` domains, `m` metrics.
"""

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.base import MIN_TRIALS
from mixopt.surrogates.covariance import choose_centers
from mixopt.surrogates.gaussian_process import MOST_RUNS, GaussianProcess, fit_theta


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
