"""Probability ensembles of experts: Σ_k α_k p_k (MDE, arXiv:2502.15950).

The log-probability of every scored token is computed once per expert; the ensemble at any α then needs
no forward pass. See docs/methods.md, section 2.2.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import ModelError

OFF = 1e-6
"""By how much weights may miss the simplex through rounding."""


class Ensemble:
    """Token probabilities of the experts, mixed at any weights.

    Args:
        logprobs: Log-probabilities of `n` tokens under each of `k` experts (`k x n`, nats).
    """

    def __init__(self, logprobs: Sequence[NDArray[np.float32]]) -> None:
        # in place: at a million tokens each copy has 8 MB an expert. Single precision has no probability
        # below e^-103, and at the weights of one expert its tokens may be that much below another's
        self._relative = np.stack(logprobs, dtype=np.float64)
        self._largest = self._relative.max(axis=0)
        self._relative -= self._largest
        np.exp(self._relative, out=self._relative)

    def mix(self, weights: Sequence[float]) -> NDArray[np.float64]:
        """Mix the experts' probabilities.

        Args:
            weights: α (`k`).

        Returns:
            log Σ_k α_k p_k of each token (`n`, nats).

        Raises:
            ModelError: The weights are not on the simplex, so that the result is no probability.
        """
        alpha: NDArray[np.float64] = np.asarray(weights, dtype=np.float64)
        k = len(self._relative)
        if alpha.shape != (k,):
            raise ModelError(f"{alpha.size} weights are given for {k} experts; give one for each.")
        if not (alpha >= -OFF).all() or not abs(alpha.sum() - 1) < OFF:
            raise ModelError(
                f"The weights of an ensemble are {alpha.round(4).tolist()}; they must not be negative "
                "and must sum to 1."
            )
        # -inf for a token that has probability 0 under each weighted expert
        with np.errstate(divide="ignore"):
            mixed: NDArray[np.float64] = self._largest + np.log(alpha @ self._relative)
        return mixed
