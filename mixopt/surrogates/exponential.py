"""Laws that are exponential in the ratios: the Data Mixing Law and Olmix's log-linear law.

On the simplex both are c + exp(Σ_j t_j r_j), because a factor k = e^κ adds κ to every t_j. They
differ in how their authors fit them: see each function. See docs/methods.md, section 3.8.
"""

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.least_squares import Prior
from mixopt.surrogates.parametric import ParametricModel

FLOOR_MEAN, FLOOR_SD = -2.0, 2.0  # prior of the floor c in standardized scores, below their mean
COEFFICIENT_SD = 3.0  # prior standard deviation of the coefficients t
LARGEST_EXPONENT = 20.0
HUBER_THRESHOLD = 1.345  # Huber's estimate is 95% efficient under normal noise (Huber 1964)


class Exponential:
    """c + exp(κ + Σ_j t_j r_j), with parameters c, κ, t (`p` = 2 + d)."""

    def prior(self, m: int, d: int) -> Prior:
        means = np.concatenate([[FLOOR_MEAN, np.log(-FLOOR_MEAN)], np.zeros(d)])
        sds = np.concatenate([[FLOOR_SD, 1.0], np.full(d, COEFFICIENT_SD)])
        return Prior(np.tile(means, (m, 1)), np.tile(sds**-2.0, (m, 1)))

    def starts(self, m: int, d: int) -> list[Array]:
        """Return starts with floors near and far below the scores, constant in the ratios."""
        return [np.tile([floor, np.log(-floor), *np.zeros(d)], (m, 1)) for floor in (-1.5, -4.0)]

    def evaluate(self, parameters: Array, ratios: Array) -> tuple[Array, Array]:
        inner = parameters[:, 1:2] + parameters[:, 2:] @ ratios.T
        power = np.exp(np.minimum(inner, LARGEST_EXPONENT))
        jacobian = np.empty((*power.shape, parameters.shape[1]))
        jacobian[..., 0], jacobian[..., 1] = 1.0, power
        jacobian[..., 2:] = power[..., None] * ratios
        return parameters[:, :1] + power, jacobian

    def gradient(self, parameters: Array, ratios: Array, weights: Array) -> Array:
        _, jacobian = self.evaluate(parameters, ratios)
        return np.asarray((weights * jacobian[..., 1].T) @ parameters[:, 2:])


def data_mixing_law() -> ParametricModel:
    """Return c_i + k_i exp(Σ_j t_ij r_j) by least squares (Ye et al. 2024, 2403.16952, eq. 1)."""
    return ParametricModel(Exponential())


def log_linear() -> ParametricModel:
    """Return e^c + exp(Σ_j t_j r_j) with Huber's loss, as Olmix fits it."""
    return ParametricModel(Exponential(), huber=HUBER_THRESHOLD)
