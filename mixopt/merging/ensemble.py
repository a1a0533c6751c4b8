"""Probability ensembles of experts: Σ_k α_k p_k (MDE, arXiv:2502.15950), a second proxy for free.

Each expert's log-probability of every scored token is computed once; after that the ensemble of
any α is arithmetic, with no forward pass.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import ModelError

OFF = 1e-6
"""How far weights may be off the simplex by rounding."""


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
        """The logarithm of Σ_k α_k p_k(token) for each token (`t`).

        Raises:
            ModelError: The weights (`k`) are not on the simplex: probabilities need that.
        """
        alpha: NDArray[np.float64] = np.asarray(weights, dtype=np.float64)
        if alpha.shape != (len(self._relative),):
            raise ModelError(
                f"{alpha.size} weights are given for an ensemble of {len(self._relative)} experts; "
                "give one for each."
            )
        if not (alpha >= -OFF).all() or not abs(alpha.sum() - 1) < OFF:
            raise ModelError(
                f"The weights of an ensemble are {alpha.round(4).tolist()}; they must not be negative "
                "and must sum to 1."
            )
        with np.errstate(divide="ignore"):  # a token no weighted expert can produce: -inf
            mixed: NDArray[np.float64] = self._largest + np.log(alpha @ self._relative)
        return mixed
