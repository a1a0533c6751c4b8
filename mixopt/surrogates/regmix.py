"""RegMix's regressor exactly as published, so that its numbers can be had again (2407.01492).

LightGBM's defaults but for 1,000 rounds at a rate of 0.01 and seed 42. The released notebook stops
early on the *test* set; `validation` does the same, and only `studies/regmix` uses it so.
"""

import numpy as np
from lightgbm import Booster, Dataset, early_stopping, train

from mixopt.mixture import Array
from mixopt.surrogates.trees import KeptByRuns

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


class RegMix(KeptByRuns):
    """One booster per metric with RegMix's published settings; its deviation is a constant.

    With `validation` (ratios and scores of other runs) each booster stops when it has not improved on
    them for three rounds.
    """

    def __init__(self, seed: int = 42, validation: tuple[Array, Array] | None = None) -> None:
        super().__init__()
        del seed  # published with 42
        self._validation = validation

    def _boost(self, m: int, ratios: Array, scores: Array, noise: Array) -> Booster:
        del noise  # not published, not used
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
        """Another, fitted to other runs."""
        return RegMix(validation=self._validation).fit(ratios, scores, noise)
