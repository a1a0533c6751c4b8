"""How much wider the bias of a metric is than other worlds say, by the metric's own runs.

The variance factor s² of a metric's bias has an inverse-gamma prior, so the bias is a Student-t process
(Shah, Wilson & Ghahramani 2014, arXiv:1402.4306). See docs/methods.md, section 11.2.

Shapes: `n` runs, `m` metrics.
"""

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from mixopt.mixture import Array

if TYPE_CHECKING:
    from mixopt.surrogates.gain_model import GainModel, Runs

FACTORS = np.logspace(0, 2, 41)  # s among which the best is chosen
TINY = 1e-9  # added to variances, so that matrices are positive definite


def fit_bias_factor(model: "GainModel", runs: "Runs") -> Array:
    """Return s of each metric (`m`), at least 1: the mode of its posterior given the metric's own runs.

    Args:
        model: Without factors.
        runs: The observations.
    """
    freedom = model.prior.bias_freedom
    factors = np.ones(len(model.spreads))
    if not np.isfinite(freedom):
        return factors
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
        belief = -(freedom / 2 + 1) * np.log(FACTORS**2) - freedom / (2 * FACTORS**2)
        factors[metric] = FACTORS[int((fit + belief).argmax())]
    return factors
