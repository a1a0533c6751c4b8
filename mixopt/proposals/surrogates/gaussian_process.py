"""A Gaussian process on square-root ratios, whose distance is Hellinger's."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

from mixopt.proposals.surrogates import Array

RESTARTS = 1


class GaussianProcess:
    """Matérn-5/2 plus a linear kernel over √r, and noise; hyper-parameters by marginal likelihood.

    √r gives small shares the room that training gives them: the first percent of a domain
    teaches more than the fiftieth.
    """

    def __init__(self, seed: int) -> None:
        kernel = (
            ConstantKernel(1.0, (1e-2, 1e2)) * Matern(0.5, (0.1, 10.0), nu=2.5)
            + ConstantKernel(1.0, (1e-3, 1e2)) * DotProduct(0.1, sigma_0_bounds="fixed")
            + WhiteKernel(0.05, (1e-6, 1.0))
        )
        self._process = GaussianProcessRegressor(
            kernel, n_restarts_optimizer=RESTARTS, random_state=seed, alpha=1e-8
        )

    def fit(self, ratios: Array, scores: Array) -> "GaussianProcess":
        """Itself, fitted to `n x d` ratios and `n` standardised scores."""
        with warnings.catch_warnings():
            # a hyper-parameter at its bound is an answer here, not a failure
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process.fit(np.sqrt(ratios), scores)
        return self

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n` each), observation noise included."""
        mean, std = self._process.predict(np.sqrt(ratios), return_std=True)
        return mean, std
