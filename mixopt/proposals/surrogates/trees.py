"""Gradient-boosted trees with leaves small enough for few runs (LightGBM)."""

import numpy as np
from lightgbm import Booster, Dataset, train

from mixopt.mixture import Array

TREES = 80
SETTINGS = {
    "objective": "regression",
    "learning_rate": 0.1,
    "min_data_in_bin": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
SMALL, LEAVES, MORE_LEAVES = 128, 5, 8
"""Leaves below and from `SMALL` runs."""
SMALLEST_LEAF = 3
LEAST_TRUST = 1e-3


class Trees:
    """One booster per metric on the ratios.

    LightGBM's `min_child_samples=20` makes a constant of anything below 40 runs, and its bins of
    three runs blur small ratios; both are set for tens of runs here. Trees have no standard
    deviation of their own: theirs is constant, and cross-validation gives it its size.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._boosters: list[Booster] = []

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "Trees":
        """Itself, fitted to `n x d` ratios and `n x m` scores; `noise` is as in the protocol."""
        self._boosters = []
        for m in range(scores.shape[1]):
            known = np.isfinite(scores[:, m])
            trust = 1 / np.maximum(noise[known, m], LEAST_TRUST) if noise[known, m].any() else None
            settings = SETTINGS | {
                "num_leaves": LEAVES if known.sum() < SMALL else MORE_LEAVES,
                "min_data_in_leaf": min(SMALLEST_LEAF, max(1, int(known.sum()) // 4)),
                "seed": self._seed,
            }
            runs = Dataset(ratios[known], scores[known, m], weight=trust, params=settings)
            # without keeping it, the booster is written to text and read again
            self._boosters.append(train(settings, runs, TREES, keep_training_booster=True))
        return self

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "Trees":
        """Another, fitted to other runs."""
        return Trees(self._seed).fit(ratios, scores, noise)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean, and a standard deviation of one (`n x m` each)."""
        mean = np.stack([np.asarray(b.predict(ratios)) for b in self._boosters], axis=1)
        return mean, np.ones(mean.shape)
