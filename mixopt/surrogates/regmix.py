"""RegMix's regressor exactly as published, to reproduce its numbers (Liu et al. 2024, 2407.01492).

LightGBM's defaults, but 1,000 rounds at a rate of 0.01 and seed 42. The released notebook stops
early on the *test* set; `validation` does the same, and only `studies/regmix` uses it.
See docs/methods.md, section 3.7.
"""

import numpy as np
from lightgbm import Booster, Dataset, early_stopping, train

from mixopt.mixture import Array
from mixopt.surrogates.trees import LightGBMModel

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


class RegMix(LightGBMModel):
    """Boosted trees with RegMix's published settings and a constant standard deviation.

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
        return train(
            PUBLISHED,
            runs,
            valid_sets=[runs.create_valid(x, y[:, m])],
            callbacks=[early_stopping(PATIENCE, verbose=False)],
        )

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "RegMix":
        """Return a new model fitted to other runs."""
        return RegMix(self._validation).fit(ratios, scores, noise)
