"""How much wider the bias of a metric is than other worlds say, by the metric's own runs.

The variance factor s² of a metric's bias has an inverse-gamma prior with mean 1, so the bias is a
Student-t process, whose covariance given runs is that of the normal process times the mean of s² (Shah,
Wilson & Ghahramani 2014, arXiv:1402.4306). See docs/methods.md, section 11.2.

Shapes: `n` runs, `m` metrics.
"""

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from mixopt.mixture import Array

if TYPE_CHECKING:
    from mixopt.surrogates.gain_model import GainModel, Runs

FACTORS = np.logspace(-1, 2, 61)  # s over which the posterior is summed
TINY = 1e-9  # added to variances, so that matrices are positive definite


def fit_bias_factor(model: "GainModel", runs: "Runs") -> Array:
    """Return s of each metric (`m`), at least 1, by the mean of s² given the metric's own runs.

    Args:
        model: Without factors.
        runs: The observations.
    """
    freedom = model.prior.bias_freedom
    factors = np.ones(len(model.spreads))
    if not np.isfinite(freedom):
        return factors
    # over log s²; the prior's mean is 1
    prior = -freedom / 2 * np.log(FACTORS**2) - (freedom - 2) / (2 * FACTORS**2)
    slope, kernel = model.kernels(runs, runs)
    shared, amplitudes = model.shared_noise(runs), model.amplitudes(runs)
    residuals = runs.gains - model.mean(runs)
    for metric in range(len(factors)):
        seen = np.flatnonzero(np.isfinite(residuals[:, metric]))
        if not len(seen):
            continue
        e, a = runs.proxy_gains[seen, metric], amplitudes[seen, metric]
        inside = np.ix_(seen, seen)
        rest = slope[inside] * np.outer(e, e) + model.noise_sd[metric] ** 2 * shared[inside]
        rest[np.diag_indices_from(rest)] += TINY
        # with VᵀRV = 1 and VᵀBV diagonal, every variance factor is a sum over n numbers
        variances, vectors = eigh(kernel[inside] * np.outer(a, a), rest)
        squares = np.square(vectors.T @ residuals[seen, metric])
        whole = 1 + np.outer(FACTORS**2, np.maximum(variances, 0.0))
        fit = -0.5 * (squares / whole + np.log(whole)).sum(axis=1)
        weights = np.exp(fit + prior - (fit + prior).max())
        factors[metric] = np.sqrt(max(1.0, weights @ FACTORS**2 / weights.sum()))
    return factors
