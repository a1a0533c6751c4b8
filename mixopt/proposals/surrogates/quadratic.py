"""Scheffé's quadratic polynomial for mixtures: Σ b_i r_i + Σ_{i<j} b_ij r_i r_j (Scheffé 1958)."""

import numpy as np
from sklearn.linear_model import BayesianRidge

from mixopt.proposals.surrogates import Array


class Quadratic:
    """Bayesian ridge on the blending terms r_i and r_i·r_j.

    The shrinkage is what lets d(d+1)/2 terms be fitted to fewer runs than that.
    """

    def __init__(self, seed: int) -> None:
        del seed  # nothing random here; every surrogate is made the same way
        self._ridge = BayesianRidge()
        self._scale = np.ones(1)

    def fit(self, ratios: Array, scores: Array) -> "Quadratic":
        """Itself, fitted to `n x d` ratios and `n` standardised scores."""
        terms = _blending_terms(ratios)
        spread = terms.std(axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        self._ridge.fit(terms / self._scale, scores)
        return self

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n` each), observation noise included."""
        mean, std = self._ridge.predict(_blending_terms(ratios) / self._scale, return_std=True)
        return mean, std


def _blending_terms(ratios: Array) -> Array:
    """r_i and r_i·r_j for i < j: `n x d(d+1)/2`."""
    first, second = np.triu_indices(ratios.shape[1], k=1)
    return np.hstack([ratios, ratios[:, first] * ratios[:, second]])
