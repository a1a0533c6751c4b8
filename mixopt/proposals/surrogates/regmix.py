"""RegMix's regressor exactly as published, so that its numbers can be had again (2407.01492).

LightGBM's defaults but for 1,000 rounds at a rate of 0.01 and seed 42. The released notebook stops
early on the *test* set; `validation` does the same, and only `studies/regmix` uses it so.
"""

import numpy as np
from lightgbm import Booster, Dataset, early_stopping, train

from mixopt.mixture import Array

PUBLISHED = {
    "boosting_type": "gbdt",
    "objective": "regression",
    "metric": ["l1", "l2"],
    "num_iterations": 1000,
    "seed": 42,
    "learning_rate": 1e-2,
    "verbosity": -1,
}
PATIENCE = 3
FEWEST = 41
"""Below 40 runs `min_child_samples=20` leaves a constant."""


class RegMix:
    """One booster per metric with RegMix's published settings; its deviation is a constant."""

    def __init__(self, seed: int = 42, validation: tuple[Array, Array] | None = None) -> None:
        del seed  # published with 42
        self._validation = validation
        self._boosters: list[Booster] = []

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "RegMix":
        """Itself, fitted to `n x d` ratios and `n x m` scores; `noise` is not published, not used.

        With `validation` (ratios and scores of other runs) each booster stops when it has not
        improved on them for three rounds.
        """
        del noise
        self._boosters = []
        for m in range(scores.shape[1]):
            known = np.isfinite(scores[:, m])
            runs = Dataset(ratios[known], scores[known, m], params={"verbosity": -1})
            if self._validation is None:
                self._boosters.append(train(PUBLISHED, runs))
                continue
            x, y = self._validation
            self._boosters.append(
                train(
                    PUBLISHED,
                    runs,
                    valid_sets=[runs.create_valid(x, y[:, m])],
                    callbacks=[early_stopping(PATIENCE, verbose=False)],
                )
            )
        return self

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "RegMix":
        """Another, fitted to other runs."""
        return RegMix(validation=self._validation).fit(ratios, scores, noise)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean, and a standard deviation of one (`n x m` each)."""
        mean = np.stack([np.asarray(b.predict(ratios)) for b in self._boosters], axis=1)
        return mean, np.ones(mean.shape)
