"""Regularized nonlinear least squares for many metrics at once (Levenberg-Marquardt).

SciPy fits one metric at a time. Batching over metrics makes it cheap to refit a model in every
fold of a cross-validation (`docs/DECISIONS.md` has the measured ratio).

Shapes: `n` mixtures, `m` metrics, `p` parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixopt.mixture import Array

NOISE, NOISE_COUNT = 0.005, 2.0
"""Prior noise variance in standardized units, and its weight in pseudo-observations."""
LONGEST_STEP = 4.0
"""Largest change of a parameter in one step; parameters are logarithms and standardized scores."""

FIRST_DAMPING, MOST_DAMPING = 1e-2, 1e6
BLOCK = 1 << 17  # values of Jacobians worked on at once: 1 MiB, which stays in a core's cache
CONVERGED = 1e-5  # relative decrease of the cost below which a metric has converged

Curve = Callable[[Array], tuple[Array, Array]]
"""Values (`m x n`) and Jacobians (`m x n x p`) at parameters (`m x p`)."""


@dataclass(frozen=True)
class Prior:
    """Normal priors of the parameters: means and precisions, `m x p` each."""

    means: Array
    precisions: Array


def hessian(jacobian: Array, weight: Array, prior: Prior) -> Array:
    """Return Gauss-Newton Hessians (`m x p x p`).

    Args:
        jacobian: `m x n x p`.
        weight: Inverse noise variances (`m x n`).
        prior: Normal priors of the parameters.
    """
    weighted = jacobian * weight[..., None]
    curvature = np.swapaxes(weighted, 1, 2) @ jacobian
    index = np.arange(curvature.shape[-1])
    curvature[:, index, index] += prior.precisions
    return np.asarray(curvature)


def levenberg_marquardt(
    curve: Curve, theta: Array, z: Array, variance: Array, prior: Prior, steps: int
) -> tuple[Array, Array]:
    """Return parameters (`m x p`) and costs (`m`) after at most `steps` damped Gauss-Newton steps.

    Metrics are fitted in blocks whose Jacobians stay in the cache.

    Args:
        curve: Values and Jacobians at given parameters.
        theta: Starting parameters (`m x p`).
        z: Scores (`m x n`).
        variance: Noise variances (`m x n`), infinite where a score is missing.
        prior: Normal priors of the parameters.
        steps: Largest number of steps.
    """
    block = max(1, BLOCK // (z.shape[1] * theta.shape[1]))
    fits = []
    for start in range(0, max(1, len(theta)), block):
        part = slice(start, start + block)
        own = Prior(prior.means[part], prior.precisions[part])
        fits.append(_fit_block(curve, theta[part], z[part], variance[part], own, steps))
    ends, costs = zip(*fits, strict=True)
    return np.concatenate(ends), np.concatenate(costs)


def _fit_block(
    curve: Curve, theta: Array, z: Array, variance: Array, prior: Prior, steps: int
) -> tuple[Array, Array]:
    """Fit some metrics; those that have converged leave, so that a few slow ones cost little."""
    ends, costs = theta.copy(), np.full(len(theta), np.inf)
    active = np.arange(len(theta))
    weight, damping = 1 / variance, np.full(len(theta), FIRST_DAMPING)
    values, jacobian = curve(theta)
    cost = _cost(theta, values, z, weight, prior)
    costs[:] = cost
    index = np.arange(theta.shape[1])
    for _ in range(steps):
        damped = hessian(jacobian, weight, prior)
        by_scores = np.einsum("mnp,mn->mp", jacobian, weight * (z - values))
        gradient = by_scores - prior.precisions * (theta - prior.means)
        damped[:, index, index] *= 1 + damping[:, None]
        step = np.linalg.solve(damped, gradient[..., None])[..., 0]
        moved = theta + np.clip(step, -LONGEST_STEP, LONGEST_STEP)
        moved_values, moved_jacobian = curve(moved)
        moved_cost = _cost(moved, moved_values, z, weight, prior)
        better = moved_cost < cost
        converged = better & (cost - moved_cost < CONVERGED * (1 + np.abs(cost)))
        converged |= damping > MOST_DAMPING
        theta = np.where(better[:, None], moved, theta)
        cost = np.where(better, moved_cost, cost)
        ends[active], costs[active] = theta, cost
        if converged.all():
            break
        values = np.where(better[:, None], moved_values, values)
        jacobian[better] = moved_jacobian[better]
        damping = np.where(better, damping / 4, damping * 6)
        if converged.any():
            go = ~converged
            active, theta, values, jacobian = active[go], theta[go], values[go], jacobian[go]
            cost, damping, z, weight = cost[go], damping[go], z[go], weight[go]
            prior = Prior(prior.means[go], prior.precisions[go])
    return ends, costs


def _cost(theta: Array, values: Array, z: Array, weight: Array, prior: Prior) -> Array:
    misses = np.square(theta - prior.means) * prior.precisions
    return np.asarray(0.5 * (weight * np.square(z - values)).sum(1) + 0.5 * misses.sum(1))


def update_noise(
    residuals: Array, jacobian: Array, covariance: Array, extra: Array, noise: Array
) -> Array:
    """Return the expected residual variance (`m`), shrunk to its prior: one EM update.

    Args:
        residuals: Scores minus values (`m x n`).
        jacobian: `m x n x p`.
        covariance: Posterior covariance of the parameters (`m x p x p`).
        extra: Known noise variances (`m x n`), infinite where a score is missing.
        noise: The present estimate (`m`).
    """
    spread = np.einsum("mnp,mpq,mnq->mn", jacobian, covariance, jacobian, optimize=True)
    total = noise[:, None] + extra
    # E-step of z = curve + ε + known noise: the share of a residual that is ε
    share = noise[:, None] / total
    own = share**2 * (residuals**2 + spread) + np.where(
        np.isfinite(extra), share * np.where(np.isfinite(extra), extra, 0.0), 0.0
    )
    counted = np.isfinite(extra).sum(axis=1)
    return np.asarray((own.sum(axis=1) + NOISE_COUNT * NOISE) / (counted + NOISE_COUNT))


def relative_precisions(noise: Array) -> Array:
    """Return inverse variances relative to the median run: twice the noise, a quarter of the weight.

    Args:
        noise: Known variances (`n`), 0 where unknown.

    Returns:
        Weights (`n`); ones where all noise is alike.
    """
    return np.asarray((float(np.median(noise)) + NOISE) / (noise + NOISE))
