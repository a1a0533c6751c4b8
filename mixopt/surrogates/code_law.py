"""The proportion-dependent law with synergies of "Scaling Laws for Code" (arXiv 2512.13472).

    L(N, D; p) = A·N^{−α_N(p)} + B·D_x^{−α_D(p)} + L_∞(p),    D_x = D (1 + γ Σ_{i≠j} p_i p_j τ_ij)

with α and L_∞ linear in p. Runs of one model size and budget identify neither the first term apart
from the last, nor D apart from B, so the fitted form is

    z(p) = Σ_k p_k ℓ_k + exp( β − Σ_k p_k a_k − log(1 + Σ_{i<j} p_i p_j s_ij) · ā )

where a_k stands for α_D,k·log D, ℓ_k for the floor with the model-size term, s for 2γτ, and ā is the
mean exponent, absorbed into s. See docs/methods.md, section 3.10.
"""

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.least_squares import Prior
from mixopt.surrogates.parametric import ParametricModel

FLOOR_MEAN, FLOOR_SD = -1.0, 1.5
EXPONENT_SD, SYNERGY_SD = 2.0, 1.0
LARGEST_EXPONENT = 20.0
LEAST_SYNERGY = 0.05  # lower bound of 1 + synergy: its logarithm must exist


class _CodeLaw:
    """The fitted form, with parameters ℓ (`d`), β, a (`d`), s (`d(d−1)/2`)."""

    def prior(self, m: int, d: int) -> Prior:
        pairs = d * (d - 1) // 2
        means = np.concatenate([np.full(d, FLOOR_MEAN), np.zeros(1 + d + pairs)])
        sds = np.repeat([FLOOR_SD, 1.0, EXPONENT_SD, SYNERGY_SD], [d, 1, d, pairs])
        return Prior(np.tile(means, (m, 1)), np.tile(sds**-2.0, (m, 1)))

    def starts(self, m: int, d: int) -> list[Array]:
        return [self.prior(m, d).means]

    def evaluate(self, parameters: Array, ratios: Array) -> tuple[Array, Array]:
        power, synergy, pairs = self._parts(parameters, ratios)
        d = ratios.shape[1]
        jacobian = np.empty((*power.shape, parameters.shape[1]))
        jacobian[..., :d] = ratios
        jacobian[..., d] = power
        jacobian[..., d + 1 : 2 * d + 1] = -power[..., None] * ratios
        inside = synergy > LEAST_SYNERGY
        jacobian[..., 2 * d + 1 :] = -(power * inside / synergy)[..., None] * pairs
        return parameters[:, :d] @ ratios.T + power, jacobian

    def gradient(self, parameters: Array, ratios: Array, weights: Array) -> Array:
        power, synergy, _ = self._parts(parameters, ratios)
        d = ratios.shape[1]
        first, second = np.triu_indices(d, k=1)
        matrix = np.zeros((len(parameters), d, d))
        matrix[:, first, second] = matrix[:, second, first] = parameters[:, 2 * d + 1 :]
        weighted = (weights.T * power)[..., None]
        inverse = np.where(synergy > LEAST_SYNERGY, 1 / synergy, 0.0)[..., None]
        by_synergy = inverse * np.einsum("mij,nj->mni", matrix, ratios)
        exponents = parameters[:, None, d + 1 : 2 * d + 1]
        by_power = (weighted * (exponents + by_synergy)).sum(0)
        return np.asarray(weights @ parameters[:, :d] - by_power)

    @staticmethod
    def _parts(parameters: Array, ratios: Array) -> tuple[Array, Array, Array]:
        """Return the power term and 1 + synergy (`m x n` each), and p_i·p_j (`n x pairs`)."""
        d = ratios.shape[1]
        first, second = np.triu_indices(d, k=1)
        pairs = ratios[:, first] * ratios[:, second]
        synergy = np.maximum(1 + parameters[:, 2 * d + 1 :] @ pairs.T, LEAST_SYNERGY)
        inner = parameters[:, d : d + 1] - parameters[:, d + 1 : 2 * d + 1] @ ratios.T
        power = np.exp(np.minimum(inner - np.log(synergy), LARGEST_EXPONENT))
        return power, synergy, pairs


def code_law() -> ParametricModel:
    """Return the law of "Scaling Laws for Code" for runs of one model size and budget."""
    return ParametricModel(_CodeLaw())
