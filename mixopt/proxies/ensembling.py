"""Probability ensembles of experts: Σ_k α_k p_k (MDE, arXiv:2502.15950), a second proxy for free.

Each expert's log-probability of every scored token is computed once; after that the ensemble of
any α is arithmetic, with no forward pass.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Ensemble:
    """The experts' cached token probabilities, mixed by any weights.

    Args:
        logprobs: `k x t` natural log-probabilities of `t` tokens under `k` experts.
    """

    def __init__(self, logprobs: Sequence[NDArray[np.float32]]) -> None:
        stacked = np.stack(logprobs).astype(np.float64)
        self._largest = stacked.max(axis=0)
        self._relative = np.exp(stacked - self._largest)

    def mix(self, weights: Sequence[float]) -> NDArray[np.float64]:
        """The logarithm of Σ_k α_k p_k(token) for each token (`t`) and weights on the simplex."""
        alpha: NDArray[np.float64] = np.asarray(weights, dtype=np.float64)
        with np.errstate(divide="ignore"):  # a token no weighted expert can produce: -inf
            mixed: NDArray[np.float64] = self._largest + np.log(alpha @ self._relative)
        return mixed
