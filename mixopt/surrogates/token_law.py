"""The effective-token law of many metrics at once, its parameters shrunk to each other.

    z_t(r) = E_t + [ e^{A_t} ( Σ_j e^{e_tj} r_j^{γ_t} + δ_t ) ]^{−α_t}

One domain's tokens are worth e^{e_tj} of another's for metric t; the bracket is an effective
number of tokens, and the power is a scaling law in it (METHODS §12). Everything here is batched
over metrics: parameters are `m x p` with p = 5 + d, in the order E, A, log δ, log α, log γ, e.

Shapes: `n` mixtures, `d` domains, `m` metrics, `p` parameters.
"""

from dataclasses import dataclass

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.least_squares import (
    Curve,
    Prior,
    descend,
    diagonal,
    hessian,
    invert,
    update_noise,
)

N_SCALARS = 5
FLOOR, SCALE, DELTA, ALPHA, GAMMA = range(N_SCALARS)
PRIOR_MEANS = np.array([-3.0, 0.0, -3.0, np.log(0.4), 0.0])
PRIOR_SDS = np.array([3.0, 8.0, 1.5, 0.4, 0.4])
STARTS = ((-3.0, 0.3), (-1.8, 0.6))
"""(E, α) that a fit starts from; the better end is kept."""

DEGREES = 4.0
"""Degrees of freedom of the Student-t that log-worths come from."""
SPREAD, SPREAD_COUNT = 1.5, 4.0
"""Starting spread of log-worths around a domain's mean, and what it counts in pseudo-worths."""
EM_ROUNDS, REFIT_ROUNDS = 5, 2
FIRST_NOISE = 0.05
FIRST_STEPS, LATER_STEPS = 24, 6
LARGEST_EXPONENT = 30.0


@dataclass(frozen=True)
class FittedLaw:
    """The law at its posterior mode.

    Attributes:
        parameters: `m x p`.
        prior: The empirical-Bayes prior they were shrunk to.
        noise: Residual variance of each metric (`m`), standardised units.
        spread: Of log-worths around their domain's mean.
    """

    parameters: Array
    prior: Prior
    noise: Array
    spread: float


def evaluate(parameters: Array, ratios: Array) -> tuple[Array, Array]:
    """Values (`m x n`) and Jacobians (`m x n x p`) of the law at `n x d` ratios."""
    floor, scale, log_delta, log_alpha, log_gamma = parameters[:, :N_SCALARS].T[..., None]
    alpha, gamma, delta = np.exp(log_alpha), np.exp(log_gamma), np.exp(log_delta)
    logs = np.log(np.maximum(ratios, 1e-300))
    # r^γ without its own power per metric: e^{e + γ log r}, zero where r is
    worth = np.exp(parameters[:, None, N_SCALARS:] + gamma[:, :, None] * logs)
    worth *= ratios > 0
    total = worth.sum(axis=2) + delta
    level = scale + np.log(total)
    power = np.exp(np.clip(-alpha * level, -LARGEST_EXPONENT, LARGEST_EXPONENT))
    slope = -alpha * power
    per_total = slope / total
    jacobian = np.empty((*power.shape, parameters.shape[1]))
    jacobian[..., FLOOR] = 1.0
    jacobian[..., SCALE] = slope
    jacobian[..., DELTA] = per_total * delta
    jacobian[..., ALPHA] = slope * level
    jacobian[..., GAMMA] = per_total * gamma * np.einsum("mnd,nd->mn", worth, logs * (ratios > 0))
    np.multiply(worth, per_total[..., None], out=jacobian[..., N_SCALARS:])
    return floor + power, jacobian


def slopes(parameters: Array, ratios: Array, weights: Array, smallest: float) -> Array:
    """Gradient (`n x d`) by the ratios of Σ_m weights_nm · law_m, finite at r = 0."""
    held = np.maximum(ratios, smallest)
    _, jacobian = evaluate(parameters, held)
    gamma = np.exp(parameters[:, GAMMA])
    return np.asarray(np.einsum("nm,mnd,m->nd", weights, jacobian[..., N_SCALARS:], gamma) / held)


def fit_law(
    ratios: Array, scores: Array, known_noise: Array, start: FittedLaw | None = None
) -> FittedLaw:
    """The law fitted to standardised scores, lower better, by empirical Bayes.

    Args:
        ratios: `n x d`.
        scores: `n x m`; any number where `known_noise` is infinite.
        known_noise: Sampling variance of each score (`n x m`), infinite where it is missing.
        start: A fit to nearly the same runs, to go on from.
    """
    z, extra = scores.T, known_noise.T

    def curve(parameters: Array) -> tuple[Array, Array]:
        return evaluate(parameters, ratios)

    if start is None:
        start, rounds = _first_fit(curve, ratios.shape[1], z, extra), EM_ROUNDS
    else:
        rounds = REFIT_ROUNDS
    best, noise, spread = start.parameters, start.noise, start.spread
    centres = start.prior.means[0, N_SCALARS:]
    prior = start.prior
    for _ in range(rounds):
        values, jacobian = curve(best)
        covariance = invert(hessian(jacobian, 1 / (noise[:, None] + extra), prior))
        noise = update_noise(z - values, jacobian, covariance, extra, noise)
        worths, variances = best[:, N_SCALARS:], diagonal(covariance)[:, N_SCALARS:]
        centres, spread = _update_worths(worths, variances, centres, spread)
        prior = _update_prior(best, covariance, centres, spread)
        best, _ = descend(curve, best, z, noise[:, None] + extra, prior, LATER_STEPS)
    return FittedLaw(best, prior, noise, spread)


def _first_fit(curve: Curve, d: int, z: Array, extra: Array) -> FittedLaw:
    """The law under its first prior: both starts a little way, the better one to the end."""
    m, prior = len(z), _first_prior(len(z), d)
    noise = np.full(m, FIRST_NOISE)
    variance = noise[:, None] + extra
    ends, costs = zip(
        *(
            descend(curve, _start(d, floor, alpha, m), z, variance, prior, FIRST_STEPS // 2)
            for floor, alpha in STARTS
        ),
        strict=True,
    )
    best = np.where((costs[0] <= costs[1])[:, None], ends[0], ends[1])
    best, _ = descend(curve, best, z, variance, prior, FIRST_STEPS // 2)
    return FittedLaw(best, prior, noise, SPREAD)


def _first_prior(m: int, d: int) -> Prior:
    means = np.tile(np.concatenate([PRIOR_MEANS, np.zeros(d)]), (m, 1))
    sds = np.concatenate([PRIOR_SDS, np.full(d, SPREAD)])
    return Prior(means, np.tile(sds**-2.0, (m, 1)))


def _start(d: int, floor: float, alpha: float, m: int) -> Array:
    """Parameters (`m x p`) whose law is zero, the mean of standardised scores, on the average."""
    theta = np.zeros(N_SCALARS + d)
    theta[:N_SCALARS] = PRIOR_MEANS
    theta[FLOOR], theta[ALPHA] = floor, np.log(alpha)
    theta[SCALE] = -np.log(-floor) / alpha  # Σ r_j = 1 when all worths are one
    return np.tile(theta, (m, 1))


def _update_worths(
    worths: Array, variances: Array, centres: Array, spread: float
) -> tuple[Array, float]:
    """Mean log-worth of each domain over the metrics (`d`), robustly, and the spread around it."""
    weight = (DEGREES + 1) / (DEGREES + (np.square(worths - centres) + variances) / spread**2)
    counts = weight.sum(axis=0)
    prior_count = (spread / SPREAD) ** 2
    centres = (weight * worths).sum(axis=0) / (counts + prior_count)
    centres = centres - centres.mean()  # a common factor belongs to A
    unsure = spread**2 / (counts + prior_count)
    square = (weight * (np.square(worths - centres) + variances + unsure)).sum()
    total = square + SPREAD_COUNT * SPREAD**2
    return centres, float(np.sqrt(total / (worths.size + SPREAD_COUNT)))


def _update_prior(theta: Array, covariance: Array, centres: Array, spread: float) -> Prior:
    """Priors around what the metrics have in common."""
    m = len(theta)
    scalars, variances = theta[:, :N_SCALARS], diagonal(covariance)[:, :N_SCALARS]
    certainty = 1 / (variances + PRIOR_SDS**2)
    shared = (certainty * scalars).sum(0) + PRIOR_MEANS / PRIOR_SDS**2
    means = shared / (certainty.sum(0) + 1 / PRIOR_SDS**2)
    square = (np.square(scalars - means) + variances).sum(0) + 4 * PRIOR_SDS**2
    sds = np.sqrt(square / (m + 4))
    worths = theta[:, N_SCALARS:]
    t_weight = (DEGREES + 1) / (DEGREES + np.square((worths - centres) / spread))
    return Prior(
        np.hstack([np.tile(means, (m, 1)), np.tile(centres, (m, 1))]),
        np.hstack([np.tile(sds**-2.0, (m, 1)), t_weight / spread**2]),
    )
