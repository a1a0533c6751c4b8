"""The proportion-dependent law with synergies of "Scaling Laws for Code" (arXiv 2512.13472).

    L(N, D; p) = A·N^{−α_N(p)} + B·D_x^{−α_D(p)} + L_∞(p),    D_x = D (1 + γ Σ_{i≠j} p_i p_j τ_ij)

with α and L_∞ linear in p. Runs of one model size and budget cannot tell the first term from the
last, nor D from B, so what is fitted is

    z(p) = Σ_k p_k ℓ_k + exp( β − Σ_k p_k a_k − log(1 + Σ_{i<j} p_i p_j s_ij) · ā )

where a_k stands for α_D,k·log D, ℓ_k for the floor with the model-size term, s for 2γτ, and ā is the
mean exponent, taken into s.
"""

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.least_squares import Prior
from mixopt.surrogates.parametric import ParametricModel

FLOOR_MEAN, FLOOR_SD = -1.0, 1.5
EXPONENT_SD, SYNERGY_SD = 2.0, 1.0
LARGEST_EXPONENT = 20.0
LEAST_GAIN = 0.05
"""Synergy leaves at least this share of the tokens, so that its logarithm stands."""


class CodeLaw:
    """Parameters ℓ (`d`), β, a (`d`), s (`d(d−1)/2`)."""

    def prior(self, m: int, d: int) -> Prior:
        """Normal prior of the parameters, `m x p`."""
        pairs = d * (d - 1) // 2
        means = np.concatenate([np.full(d, FLOOR_MEAN), np.zeros(1 + d + pairs)])
        sds = np.concatenate(
            [np.full(d, FLOOR_SD), [1.0], np.full(d, EXPONENT_SD), np.full(pairs, SYNERGY_SD)]
        )
        return Prior(np.tile(means, (m, 1)), np.tile(sds**-2.0, (m, 1)))

    def starts(self, m: int, d: int) -> list[Array]:
        """The prior's means: flat in the ratios."""
        return [self.prior(m, d).means]

    def evaluate(self, parameters: Array, ratios: Array) -> tuple[Array, Array]:
        """Values (`m x n`) and Jacobians (`m x n x p`)."""
        power, gain, pairs = self._parts(parameters, ratios)
        d = ratios.shape[1]
        jacobian = np.empty((*power.shape, parameters.shape[1]))
        jacobian[..., :d] = ratios
        jacobian[..., d] = power
        jacobian[..., d + 1 : 2 * d + 1] = -power[..., None] * ratios
        held = gain > LEAST_GAIN
        jacobian[..., 2 * d + 1 :] = -(power * held / gain)[..., None] * pairs
        return parameters[:, :d] @ ratios.T + power, jacobian

    def slopes(self, parameters: Array, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) by the ratios of Σ_m weights_nm · value_mn."""
        power, gain, _ = self._parts(parameters, ratios)
        d = ratios.shape[1]
        first, second = np.triu_indices(d, k=1)
        synergy = np.zeros((len(parameters), d, d))
        synergy[:, first, second] = synergy[:, second, first] = parameters[:, 2 * d + 1 :]
        push = (weights.T * power)[..., None]
        by_synergy = np.where(gain > LEAST_GAIN, 1 / gain, 0.0)[..., None] * np.einsum(
            "mij,nj->mni", synergy, ratios
        )
        exponents = parameters[:, None, d + 1 : 2 * d + 1]
        return np.asarray(weights @ parameters[:, :d] - (push * (exponents + by_synergy)).sum(0))

    @staticmethod
    def _parts(parameters: Array, ratios: Array) -> tuple[Array, Array, Array]:
        """The power term and 1 + synergy (`m x n` each), and the products p_i·p_j (`n x pairs`)."""
        d = ratios.shape[1]
        first, second = np.triu_indices(d, k=1)
        pairs = ratios[:, first] * ratios[:, second]
        gain = np.maximum(1 + parameters[:, 2 * d + 1 :] @ pairs.T, LEAST_GAIN)
        inner = parameters[:, d : d + 1] - parameters[:, d + 1 : 2 * d + 1] @ ratios.T
        return np.exp(np.minimum(inner - np.log(gain), LARGEST_EXPONENT)), gain, pairs


def code_law(seed: int) -> ParametricModel:
    """The law of "Scaling Laws for Code" for runs of one size and budget."""
    del seed  # nothing random here; every surrogate is made the same way
    return ParametricModel(CodeLaw())
