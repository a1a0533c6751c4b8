"""Penalised least squares of a curve on many metrics at once (Levenberg-Marquardt).

SciPy fits one metric at a time; batching over metrics is what makes refitting a law for every
fold of a cross-validation cheap (`docs/DECISIONS.md` has the ratio).

Shapes: `n` mixtures, `m` metrics, `p` parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixopt.mixture import Array

NOISE, NOISE_COUNT = 0.005, 2.0
"""Prior noise variance in standardised units, and what it counts in pseudo-observations."""
LONGEST_STEP = 4.0
"""Largest change of a parameter in one step; they are logarithms and standardised scores."""

FIRST_DAMPING, MOST_DAMPING = 1e-2, 1e6
ARRIVED = 1e-5
"""Relative gain of a step below which a metric has arrived."""

Curve = Callable[[Array], tuple[Array, Array]]
"""Values (`m x n`) and Jacobians (`m x n x p`) at parameters (`m x p`)."""


@dataclass(frozen=True)
class Prior:
    """Normal priors of the parameters: means and precisions, `m x p` each."""

    means: Array
    precisions: Array


def hessian(jacobian: Array, weight: Array, prior: Prior) -> Array:
    """Gauss-Newton Hessians, `m x p x p`."""
    weighted = jacobian * weight[..., None]
    curvature = np.swapaxes(weighted, 1, 2) @ jacobian
    index = np.arange(curvature.shape[-1])
    curvature[:, index, index] += prior.precisions
    return np.asarray(curvature)


def descend(
    curve: Curve, theta: Array, z: Array, variance: Array, prior: Prior, steps: int
) -> tuple[Array, Array]:
    """Parameters (`m x p`) after at most `steps` steps down from `theta`, and costs (`m`).

    Metrics that have arrived leave the batch, so that a few slow ones do not cost all of them.
    """
    ends, costs = theta.copy(), np.full(len(theta), np.inf)
    active = np.arange(len(theta))
    weight, damping = 1 / variance, np.full(len(theta), FIRST_DAMPING)
    values, jacobian = curve(theta)
    cost = _cost(theta, values, z, weight, prior)
    costs[:] = cost
    index = np.arange(theta.shape[1])
    for _ in range(steps):
        damped = hessian(jacobian, weight, prior)
        pull = np.einsum("mnp,mn->mp", jacobian, weight * (z - values))
        gradient = pull - prior.precisions * (theta - prior.means)
        damped[:, index, index] *= 1 + damping[:, None]
        step = np.linalg.solve(damped, gradient[..., None])[..., 0]
        moved = theta + np.clip(step, -LONGEST_STEP, LONGEST_STEP)
        moved_values, moved_jacobian = curve(moved)
        moved_cost = _cost(moved, moved_values, z, weight, prior)
        better = moved_cost < cost
        arrived = better & (cost - moved_cost < ARRIVED * (1 + np.abs(cost)))
        arrived |= damping > MOST_DAMPING
        theta = np.where(better[:, None], moved, theta)
        cost = np.where(better, moved_cost, cost)
        ends[active], costs[active] = theta, cost
        if arrived.all():
            break
        values = np.where(better[:, None], moved_values, values)
        jacobian[better] = moved_jacobian[better]
        damping = np.where(better, damping / 4, damping * 6)
        if arrived.any():
            go = ~arrived
            active, theta, values, jacobian = active[go], theta[go], values[go], jacobian[go]
            cost, damping, z, weight = cost[go], damping[go], z[go], weight[go]
            prior = Prior(prior.means[go], prior.precisions[go])
    return ends, costs


def _cost(theta: Array, values: Array, z: Array, weight: Array, prior: Prior) -> Array:
    misses = np.square(theta - prior.means) * prior.precisions
    return np.asarray(0.5 * (weight * np.square(z - values)).sum(1) + 0.5 * misses.sum(1))


def invert(matrices: Array) -> Array:
    """Inverses (`m x p x p`)."""
    return np.asarray(np.linalg.inv(matrices), dtype=np.float64)


def diagonal(matrices: Array) -> Array:
    """Diagonals (`m x p`) of square matrices (`m x p x p`)."""
    return np.asarray(np.diagonal(matrices, axis1=1, axis2=2))


def update_noise(
    residuals: Array, jacobian: Array, covariance: Array, extra: Array, noise: Array
) -> Array:
    """Expected residual variance (`m`), with its prior's pseudo-observations."""
    spread = np.einsum("mnp,mpq,mnq->mn", jacobian, covariance, jacobian, optimize=True)
    total = noise[:, None] + extra
    # E-step of z = law + ε + known noise: what of the residual is ε
    share = noise[:, None] / total
    own = share**2 * (residuals**2 + spread) + np.where(
        np.isfinite(extra), share * np.where(np.isfinite(extra), extra, 0.0), 0.0
    )
    counted = np.isfinite(extra).sum(axis=1)
    return np.asarray((own.sum(axis=1) + NOISE_COUNT * NOISE) / (counted + NOISE_COUNT))
