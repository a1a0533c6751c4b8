"""Gradient-boosted trees (LightGBM): with leaves small enough for few runs, and as RegMix has them.

See docs/methods.md, section 3.7.
"""

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from lightgbm import Booster, Dataset, early_stopping, train

from mixopt.mixture import Array

TREES = 80
SETTINGS = {"objective": "regression", "learning_rate": 0.1, "min_data_in_bin": 1, "num_threads": 1,
            "deterministic": True, "force_row_wise": True, "verbosity": -1}  # fmt: skip
FEW_RUNS, LEAVES, MORE_LEAVES = 128, 5, 8  # number of leaves below and from `FEW_RUNS` runs
SMALLEST_LEAF = 3
WIDE, LARGE, FEWER_BINS = 64, 16_384, 63
"""Domains, and domains times runs, beyond which a feature has fewer bins: the time of trees grows with
domains times bins. In large tables smooth models have nearly all of the weight."""
LEAST_NOISE = 1e-3  # lower bound of a noise variance whose inverse weighs a run
PUBLISHED = {"boosting_type": "gbdt", "objective": "regression", "metric": ["l1", "l2"],
             "num_iterations": 1000, "seed": 42, "learning_rate": 1e-2, "verbosity": -1}  # fmt: skip
PATIENCE = 3


class _LightGBMModel(ABC):
    """One LightGBM booster for each metric, serialized as its training data.

    Deserialization trains the boosters again: LightGBM's own text format is unsafe to read from an
    untrusted file, where a changed number crashes the process or reads memory out of bounds.
    """

    def __init__(self) -> None:
        self._runs: tuple[Array, Array, Array] | None = None
        self._boosters: list[Booster] = []

    def fit(self, ratios: Array, scores: Array, noise: Array) -> Self:
        self._runs = (ratios, scores, noise)
        columns = enumerate(zip(scores.T, noise.T, strict=True))
        self._boosters = [self._boost(m, ratios, z, extra) for m, (z, extra) in columns]
        return self

    @abstractmethod
    def _boost(self, m: int, ratios: Array, scores: Array, noise: Array) -> Booster:
        """Train the booster of metric `m` on `n x d` ratios, `n` scores and `n` variances."""

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Return the mean, and a standard deviation of one (`n x m` each)."""
        mean = np.stack([np.asarray(b.predict(ratios)) for b in self._boosters], axis=1)
        return mean, np.ones(mean.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_boosters"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._boosters = []
        if self._runs is not None:
            self.fit(*self._runs)


class BoostedTrees(_LightGBMModel):
    """Boosted trees on the ratios.

    LightGBM's default `min_child_samples=20` gives a constant below 40 runs, and its bins of three
    runs merge small ratios; both settings are for tens of runs here. Trees have no standard
    deviation of their own: it is one, and cross-validation scales it.

    Args:
        seed: LightGBM's seed.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def _boost(self, m: int, ratios: Array, scores: Array, noise: Array) -> Booster:
        known = np.isfinite(scores)
        weight = 1 / np.maximum(noise[known], LEAST_NOISE) if noise[known].any() else None
        settings = SETTINGS | {
            "num_leaves": LEAVES if known.sum() < FEW_RUNS else MORE_LEAVES,
            "min_data_in_leaf": min(SMALLEST_LEAF, max(1, int(known.sum()) // 4)),
            "seed": self._seed,
        }
        if ratios.shape[1] > WIDE or ratios.size > LARGE:
            settings["max_bin"] = FEWER_BINS
        runs = Dataset(ratios[known], scores[known], weight=weight, params=settings)
        # otherwise LightGBM writes the booster to text and reads it again
        return train(settings, runs, TREES, keep_training_booster=True)

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "BoostedTrees":
        return BoostedTrees(self._seed).fit(ratios, scores, noise)


class RegMix(_LightGBMModel):
    """Boosted trees exactly as RegMix published them (Liu et al. 2024, 2407.01492).

    LightGBM's defaults, but 1,000 rounds at a rate of 0.01 and seed 42. The released notebook stops
    early on the *test* set; `validation` does the same, and only `studies/regmix` uses it.

    Args:
        validation: Ratios (`k x d`) and scores (`k x m`) of other runs. Each booster stops when it
            has not improved on them for three rounds.
    """

    def __init__(self, validation: tuple[Array, Array] | None = None) -> None:
        super().__init__()
        self._validation = validation

    def _boost(self, m: int, ratios: Array, scores: Array, noise: Array) -> Booster:
        # RegMix weighs all runs alike, so `noise` has no effect
        known = np.isfinite(scores)
        runs = Dataset(ratios[known], scores[known], params={"verbosity": -1})
        if self._validation is None:
            return train(PUBLISHED, runs)
        x, y = self._validation
        return train(PUBLISHED, runs, valid_sets=[runs.create_valid(x, y[:, m])],
                     callbacks=[early_stopping(PATIENCE, verbose=False)])  # fmt: skip

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "RegMix":
        return RegMix(self._validation).fit(ratios, scores, noise)
