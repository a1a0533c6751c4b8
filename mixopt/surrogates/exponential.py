"""Laws that are exponential in the ratios: the Data Mixing Law and Olmix's log-linear law.

On the simplex both are c + exp(Σ_j t_j r_j), because a factor k = e^κ adds κ to every t_j. They
differ in how they are fitted, as their authors' do: see each.
"""

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.least_squares import Prior
from mixopt.surrogates.parametric import ParametricModel

FLOOR_MEAN, FLOOR_SD = -2.0, 2.0
"""Prior of the floor c in standardised scores: some standard deviations below the mean."""
SLOPE_SD = 3.0
"""Prior standard deviation of the slopes t."""
LARGEST_EXPONENT = 20.0
OLMIX_HUBER = 1.345
"""Threshold at which Huber's estimate is 95% efficient under normal noise (Huber 1964)."""


class Exponential:
    """c + exp(κ + Σ_j t_j r_j); parameters c, κ, t (`p` = 2 + d)."""

    def prior(self, m: int, d: int) -> Prior:
        """Normal prior of the parameters, `m x p`."""
        means = np.concatenate([[FLOOR_MEAN, np.log(-FLOOR_MEAN)], np.zeros(d)])
        sds = np.concatenate([[FLOOR_SD, 1.0], np.full(d, SLOPE_SD)])
        return Prior(np.tile(means, (m, 1)), np.tile(sds**-2.0, (m, 1)))

    def starts(self, m: int, d: int) -> list[Array]:
        """Floors near and far below the scores, flat in the ratios."""
        return [
            np.tile(np.concatenate([[floor, np.log(-floor)], np.zeros(d)]), (m, 1))
            for floor in (-1.5, -4.0)
        ]

    def evaluate(self, parameters: Array, ratios: Array) -> tuple[Array, Array]:
        """Values (`m x n`) and Jacobians (`m x n x p`)."""
        inner = parameters[:, 1:2] + parameters[:, 2:] @ ratios.T
        power = np.exp(np.minimum(inner, LARGEST_EXPONENT))
        jacobian = np.empty((*power.shape, parameters.shape[1]))
        jacobian[..., 0], jacobian[..., 1] = 1.0, power
        jacobian[..., 2:] = power[..., None] * ratios
        return parameters[:, :1] + power, jacobian

    def slopes(self, parameters: Array, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) by the ratios of Σ_m weights_nm · value_mn."""
        _, jacobian = self.evaluate(parameters, ratios)
        return np.asarray((weights * jacobian[..., 1].T) @ parameters[:, 2:])


def data_mixing_law(seed: int) -> ParametricModel:
    """c_i + k_i exp(Σ_j t_ij r_j) by least squares (Ye et al. 2024, arXiv 2403.16952, eq. 1)."""
    del seed  # nothing random here; every surrogate is made the same way
    return ParametricModel(Exponential())


def log_linear(seed: int) -> ParametricModel:
    """e^c + exp(Σ_j t_j r_j) with Huber's loss, as Olmix fits it."""
    del seed
    return ParametricModel(Exponential(), huber=OLMIX_HUBER)
