"""Gradient-boosted trees with leaves small enough for few runs (LightGBM)."""

from abc import ABC, abstractmethod
from typing import Any, Self

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


class KeptByRuns(ABC):
    """A law that is kept by the runs that it was fitted to, and fitted again when it comes back.

    LightGBM's reader of models trusts what it reads: a number that somebody has changed in its text ends
    the process, or reads where it may not.
    """

    def __init__(self) -> None:
        self._runs: tuple[Array, Array, Array] | None = None
        self._boosters: list[Booster] = []

    def fit(self, ratios: Array, scores: Array, noise: Array) -> Self:
        """Itself, fitted to `n x d` ratios and `n x m` scores; `noise` is as in the protocol."""
        self._runs = (ratios, scores, noise)
        self._boosters = [
            self._boost(m, ratios, scores[:, m], noise[:, m]) for m in range(scores.shape[1])
        ]
        return self

    @abstractmethod
    def _boost(self, m: int, ratios: Array, scores: Array, noise: Array) -> Booster:
        """The booster of metric `m`: `n x d` ratios, `n` scores and variances."""

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean, and a standard deviation of one (`n x m` each)."""
        mean = np.stack([np.asarray(b.predict(ratios)) for b in self._boosters], axis=1)
        return mean, np.ones(mean.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_boosters"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._boosters = []
        if self._runs is not None:
            self.fit(*self._runs)


class Trees(KeptByRuns):
    """One booster per metric on the ratios.

    LightGBM's `min_child_samples=20` makes a constant of anything below 40 runs, and its bins of
    three runs blur small ratios; both are set for tens of runs here. Trees have no standard
    deviation of their own: theirs is constant, and cross-validation gives it its size.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def _boost(self, m: int, ratios: Array, scores: Array, noise: Array) -> Booster:
        known = np.isfinite(scores)
        trust = 1 / np.maximum(noise[known], LEAST_TRUST) if noise[known].any() else None
        settings = SETTINGS | {
            "num_leaves": LEAVES if known.sum() < SMALL else MORE_LEAVES,
            "min_data_in_leaf": min(SMALLEST_LEAF, max(1, int(known.sum()) // 4)),
            "seed": self._seed,
        }
        runs = Dataset(ratios[known], scores[known], weight=trust, params=settings)
        # without keeping it, the booster is written to text and read again
        return train(settings, runs, TREES, keep_training_booster=True)

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "Trees":
        """Another, fitted to other runs."""
        return Trees(self._seed).fit(ratios, scores, noise)
