"""RegMix's LightGBM, with leaves small enough for few runs, bagged for a standard deviation."""

import numpy as np
from lightgbm import LGBMRegressor

from mixopt.proposals.surrogates import Array

BAGS = 5
TREES = 100


class Trees:
    """Gradient-boosted trees on the ratios, each of `BAGS` fitted to a bootstrap of the runs.

    LightGBM's `min_child_samples=20` makes a constant of anything below 40 runs; here it follows
    the number of runs. A tree is flat beyond the data, so its spread understates what it does
    not know; the cross-validated calibration in `fitting` makes up for the average of that.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._bags: list[LGBMRegressor] = []
        self._noise = 0.0

    def fit(self, ratios: Array, scores: Array) -> "Trees":
        """Itself, fitted to `n x d` ratios and `n` standardised scores."""
        n = len(scores)
        rng = np.random.default_rng(self._seed)
        squares, counts = np.zeros(n), np.zeros(n)
        for _ in range(BAGS):
            chosen = rng.integers(n, size=n)
            model = LGBMRegressor(
                n_estimators=TREES,
                learning_rate=0.05,
                num_leaves=8,
                min_child_samples=max(2, min(20, n // 10)),
                random_state=self._seed,
                n_jobs=1,
                deterministic=True,
                force_row_wise=True,
                verbose=-1,
            )
            model.fit(ratios[chosen], scores[chosen])
            self._bags.append(model)
            left = np.setdiff1d(np.arange(n), chosen)
            if len(left):
                squares[left] += np.square(model.predict(ratios[left]) - scores[left])
                counts[left] += 1
        seen = counts > 0
        self._noise = float((squares[seen] / counts[seen]).mean()) if seen.any() else 1.0
        return self

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean over the bags, and the bags' spread with the out-of-bag error (`n` each)."""
        each = np.stack([np.asarray(model.predict(ratios)) for model in self._bags])
        return each.mean(axis=0), np.sqrt(each.var(axis=0) + self._noise / 2)
