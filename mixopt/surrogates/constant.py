"""The mean of the scores: the baseline of every other model."""

import numpy as np

from mixopt.mixture import Array

PRIOR_COUNT = 1.0  # pseudo-observations at zero, the mean of standardized scores


class Constant:
    """One number for each metric."""

    def __init__(self) -> None:
        self._means = self._variances = self._counts = np.zeros(0)

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "Constant":
        known = np.isfinite(scores)
        values = np.where(known, scores, 0.0)
        self._counts = known.sum(axis=0) + PRIOR_COUNT
        self._means = values.sum(axis=0) / self._counts
        away = np.where(known, np.square(values - self._means), 0.0).sum(axis=0)
        self._variances = (away + PRIOR_COUNT) / self._counts
        return self

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "Constant":
        return Constant().fit(ratios, scores, noise)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        std = np.sqrt(self._variances * (1 + 1 / self._counts))
        return self.mean(ratios), np.ones((len(ratios), 1)) * std

    def mean(self, ratios: Array) -> Array:
        return np.ones((len(ratios), 1)) * self._means

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        zeros = np.zeros((len(ratios), len(self._means)))
        return zeros, zeros

    def gradient(self, ratios: Array, weights: Array) -> Array:
        return np.zeros(ratios.shape)
