"""The mean of the scores: what every law has to beat, and what is left where none does."""

import numpy as np

from mixopt.mixture import Array

PRIOR_COUNT = 1.0
"""Pseudo-observations at zero, the mean of standardised scores."""


class Constant:
    """One number per metric."""

    def __init__(self, seed: int = 0) -> None:
        del seed  # nothing random here; every surrogate is made the same way
        self._means = self._variances = self._counts = np.zeros(0)

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "Constant":
        """Itself, fitted to `n x m` scores; `ratios` and `noise` do not matter."""
        del ratios, noise
        known = np.isfinite(scores)
        values = np.where(known, scores, 0.0)
        self._counts = known.sum(axis=0) + PRIOR_COUNT
        self._means = values.sum(axis=0) / self._counts
        away = np.where(known, np.square(values - self._means), 0.0).sum(axis=0)
        self._variances = (away + PRIOR_COUNT) / self._counts
        return self

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "Constant":
        """Another, fitted to other runs."""
        return Constant().fit(ratios, scores, noise)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n x m` each), observation noise included."""
        variance = self._variances * (1 + 1 / self._counts)
        ones = np.ones((len(ratios), 1))
        return ones * self._means, ones * np.sqrt(variance)

    def mean(self, ratios: Array) -> Array:
        """Expected scores (`n x m`)."""
        return np.ones((len(ratios), 1)) * self._means

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Noise-free scores minus those at `reference`: all zero."""
        del reference
        none = np.zeros((len(ratios), len(self._means)))
        return none, none

    def slopes(self, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) by the ratios of Σ_m weights_nm · mean_nm: none."""
        del weights
        return np.zeros(ratios.shape)
