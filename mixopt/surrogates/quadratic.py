"""Scheffé's quadratic polynomial for mixtures: Σ b_i r_i + Σ_{i<j} b_ij r_i r_j (Scheffé 1958).

See docs/methods.md, section 3.9.
"""

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.features import FeatureName
from mixopt.surrogates.linear import Ridge


class ScheffeQuadratic(Ridge):
    """Ridge regression on the blending terms r_i and r_i·r_j.

    Shrinkage makes d(d+1)/2 terms identifiable from fewer runs than that.
    """

    def __init__(self, features: FeatureName = "identity") -> None:
        super().__init__(features)

    def terms(self, ratios: Array) -> Array:
        """Return r_i and r_i·r_j for i < j: `n x d(d+1)/2`."""
        first, second = np.triu_indices(ratios.shape[1], k=1)
        return np.hstack([ratios, ratios[:, first] * ratios[:, second]])

    def scales(self, spread: Array) -> Array:
        """Return ones: a product that hardly varies over the runs must not be scaled up."""
        return np.ones(len(spread))

    def gradient_of_terms(self, ratios: Array, weights: Array) -> Array:
        """Return the gradient (`n x d`) of Σ_f weights_nf · term_nf."""
        d = ratios.shape[1]
        first, second = np.triu_indices(d, k=1)
        blends = np.zeros((len(weights), d, d))
        blends[:, first, second] = blends[:, second, first] = weights[:, d:]
        return np.asarray(weights[:, :d] + np.einsum("nij,nj->ni", blends, ratios))
