"""A scaling law in effective tokens, fitted to many metrics at once by empirical Bayes.

    z_t(r) = E_t + [ e^{A_t} ( Σ_j e^{e_tj} r_j^{γ_t} + δ_t ) ]^{−α_t}

A token of domain j is worth e^{e_tj} for metric t. The bracket is an effective number of tokens,
and the power is a scaling law in it. Everything is batched over metrics: parameters are `m x p`
with p = 5 + d, in the order E, A, log δ, log α, log γ, e. See docs/methods.md, section 3.3.

Shapes: `n` mixtures, `d` domains, `m` metrics, `p` parameters.
"""

from dataclasses import dataclass

import numpy as np

from mixopt.mixture import Array
from mixopt.surrogates.kernels import CHUNK
from mixopt.surrogates.least_squares import Curve, Prior, hessian, levenberg_marquardt, update_noise

N_SCALARS = 5
FLOOR, SCALE, DELTA, ALPHA, GAMMA = range(N_SCALARS)
PRIOR_MEANS = np.array([-3.0, 0.0, -3.0, np.log(0.4), 0.0])
PRIOR_SDS = np.array([3.0, 8.0, 1.5, 0.4, 0.4])
STARTS = ((-3.0, 0.3), (-1.8, 0.6))  # (E, α) of the two starts; each metric keeps the better end

DEGREES = 4.0  # degrees of freedom of the Student-t prior of log-worths
SPREAD, SPREAD_COUNT = 1.5, 4.0
"""Prior spread of log-worths around a domain's mean, and its weight in pseudo-observations."""
EM_ROUNDS, REFIT_ROUNDS = 5, 2
FIRST_NOISE = 0.05
FIRST_STEPS, LATER_STEPS = 24, 6
LARGEST_EXPONENT = 30.0


@dataclass(frozen=True)
class FittedScalingLaw:
    """The law at its posterior mode.

    Attributes:
        parameters: `m x p`.
        prior: The empirical-Bayes prior, shared over metrics.
        noise: Residual variance of each metric (`m`), in standardized units.
        spread: Standard deviation of log-worths around their domain's mean.
    """

    parameters: Array
    prior: Prior
    noise: Array
    spread: float


def evaluate(parameters: Array, ratios: Array) -> tuple[Array, Array]:
    """Evaluate the law.

    Args:
        parameters: `m x p`.
        ratios: `n x d`.

    Returns:
        Values (`m x n`) and Jacobians (`m x n x p`).
    """
    floor, _, log_delta, log_alpha, log_gamma = parameters[:, :N_SCALARS].T[..., None]
    alpha, gamma, delta = np.exp(log_alpha), np.exp(log_gamma), np.exp(log_delta)
    logs = np.log(np.maximum(ratios, 1e-300))
    worth = _worths(parameters, ratios, logs)
    total, log_tokens, power = _power(parameters, worth)
    by_scale = -alpha * power
    by_total = by_scale / total
    jacobian = np.empty((*power.shape, parameters.shape[1]))
    jacobian[..., FLOOR] = 1.0
    jacobian[..., SCALE] = by_scale
    jacobian[..., DELTA] = by_total * delta
    jacobian[..., ALPHA] = by_scale * log_tokens
    jacobian[..., GAMMA] = by_total * gamma * np.einsum("mnd,nd->mn", worth, logs * (ratios > 0))
    np.multiply(worth, by_total[..., None], out=jacobian[..., N_SCALARS:])
    return floor + power, jacobian


def evaluate_values(parameters: Array, ratios: Array) -> Array:
    """Return the values of `evaluate` alone (`m x n`), a slice of the mixtures at a time.

    Args:
        parameters: `m x p`.
        ratios: `n x d`.
    """
    values = np.empty((len(parameters), len(ratios)))
    step = max(1, CHUNK // max(1, len(parameters) * ratios.shape[1]))
    for start in range(0, len(ratios), step):
        part = ratios[start : start + step]
        worth = _worths(parameters, part, np.log(np.maximum(part, 1e-300)))
        power = _power(parameters, worth)[2]
        values[:, start : start + step] = parameters[:, FLOOR, None] + power
    return values


def _worths(parameters: Array, ratios: Array, logs: Array) -> Array:
    """Return what the tokens of each domain are worth (`m x n x d`), given log ratios (`n x d`)."""
    gamma = np.exp(parameters[:, GAMMA])
    # r^γ without its own power per metric: e^{e + γ log r}, zero where r is
    worth = np.exp(parameters[:, None, N_SCALARS:] + gamma[:, None, None] * logs)
    worth *= ratios > 0
    return np.asarray(worth)


def _power(parameters: Array, worth: Array) -> tuple[Array, Array, Array]:
    """Return the sum of the worths, the log of effective tokens, and its power (`m x n` each)."""
    _, scale, log_delta, log_alpha, _ = parameters[:, :N_SCALARS].T[..., None]
    total = worth.sum(axis=2) + np.exp(log_delta)
    log_tokens = scale + np.log(total)
    exponent = np.clip(-np.exp(log_alpha) * log_tokens, -LARGEST_EXPONENT, LARGEST_EXPONENT)
    return total, log_tokens, np.exp(exponent)


def gradient(parameters: Array, ratios: Array, weights: Array, smallest: float) -> Array:
    """Return the gradient (`n x d`) of Σ_m weights_nm · law_m with respect to the ratios.

    Args:
        parameters: `m x p`.
        ratios: `n x d`.
        weights: `n x m`.
        smallest: Ratios below it count as it, so that the gradient is finite at r = 0.
    """
    held = np.maximum(ratios, smallest)
    _, jacobian = evaluate(parameters, held)
    gamma = np.exp(parameters[:, GAMMA])
    return np.asarray(np.einsum("nm,mnd,m->nd", weights, jacobian[..., N_SCALARS:], gamma) / held)


def fit_scaling_law(
    ratios: Array, scores: Array, known_noise: Array, start: FittedScalingLaw | None = None
) -> FittedScalingLaw:
    """Fit the law to standardized scores, lower better, by empirical Bayes.

    Args:
        ratios: `n x d`.
        scores: `n x m`; any number where `known_noise` is infinite.
        known_noise: Sampling variance of each score (`n x m`), infinite where it is missing.
        start: A fit to nearly the same runs, to start from.
    """
    z, extra = scores.T, known_noise.T

    def curve(parameters: Array) -> tuple[Array, Array]:
        return evaluate(parameters, ratios)

    if start is None:
        start, rounds = _first_fit(curve, ratios.shape[1], z, extra), EM_ROUNDS
    else:
        rounds = REFIT_ROUNDS
    best, noise, spread, prior = start.parameters, start.noise, start.spread, start.prior
    centers = prior.means[0, N_SCALARS:]
    for _ in range(rounds):
        values, jacobian = curve(best)
        curvature = hessian(jacobian, 1 / (noise[:, None] + extra), prior)
        covariance = np.asarray(np.linalg.inv(curvature), dtype=np.float64)
        noise = update_noise(z - values, jacobian, covariance, extra, noise)
        worths, variances = best[:, N_SCALARS:], _variances(covariance)[:, N_SCALARS:]
        centers, spread = _update_worths(worths, variances, centers, spread)
        prior = _update_prior(best, covariance, centers, spread)
        best, _ = levenberg_marquardt(curve, best, z, noise[:, None] + extra, prior, LATER_STEPS)
    return FittedScalingLaw(best, prior, noise, spread)


def _first_fit(curve: Curve, d: int, z: Array, extra: Array) -> FittedScalingLaw:
    """Fit under the first prior: both starts for half of the steps, then the better one."""
    m, prior = len(z), _first_prior(len(z), d)
    noise = np.full(m, FIRST_NOISE)
    variance = noise[:, None] + extra
    steps = FIRST_STEPS // 2
    (end, cost), (other, other_cost) = (
        levenberg_marquardt(curve, _start(d, floor, alpha, m), z, variance, prior, steps)
        for floor, alpha in STARTS
    )
    best = np.where((cost <= other_cost)[:, None], end, other)
    best, _ = levenberg_marquardt(curve, best, z, variance, prior, steps)
    return FittedScalingLaw(best, prior, noise, SPREAD)


def _first_prior(m: int, d: int) -> Prior:
    means = np.tile(np.concatenate([PRIOR_MEANS, np.zeros(d)]), (m, 1))
    sds = np.concatenate([PRIOR_SDS, np.full(d, SPREAD)])
    return Prior(means, np.tile(sds**-2.0, (m, 1)))


def _start(d: int, floor: float, alpha: float, m: int) -> Array:
    """Return parameters (`m x p`) whose law is zero, the mean of standardized scores."""
    theta = np.zeros(N_SCALARS + d)
    theta[:N_SCALARS] = PRIOR_MEANS
    theta[FLOOR], theta[ALPHA] = floor, np.log(alpha)
    theta[SCALE] = -np.log(-floor) / alpha  # Σ r_j = 1 when all worths are one
    return np.tile(theta, (m, 1))


def _variances(covariance: Array) -> Array:
    return np.diagonal(covariance, axis1=1, axis2=2)


def _update_worths(
    worths: Array, variances: Array, centers: Array, spread: float
) -> tuple[Array, float]:
    """Return each domain's mean log-worth over the metrics (`d`), robustly, and the spread."""
    weight = (DEGREES + 1) / (DEGREES + (np.square(worths - centers) + variances) / spread**2)
    counts = weight.sum(axis=0)
    prior_count = (spread / SPREAD) ** 2
    centers = (weight * worths).sum(axis=0) / (counts + prior_count)
    centers = centers - centers.mean()  # a common factor belongs to A
    uncertainty = spread**2 / (counts + prior_count)
    square = (weight * (np.square(worths - centers) + variances + uncertainty)).sum()
    total = square + SPREAD_COUNT * SPREAD**2
    return centers, float(np.sqrt(total / (worths.size + SPREAD_COUNT)))


def _update_prior(theta: Array, covariance: Array, centers: Array, spread: float) -> Prior:
    m = len(theta)
    scalars, variances = theta[:, :N_SCALARS], _variances(covariance)[:, :N_SCALARS]
    certainty = 1 / (variances + PRIOR_SDS**2)
    shared = (certainty * scalars).sum(0) + PRIOR_MEANS / PRIOR_SDS**2
    means = shared / (certainty.sum(0) + 1 / PRIOR_SDS**2)
    square = (np.square(scalars - means) + variances).sum(0) + 4 * PRIOR_SDS**2
    sds = np.sqrt(square / (m + 4))
    worths = theta[:, N_SCALARS:]
    t_weight = (DEGREES + 1) / (DEGREES + np.square((worths - centers) / spread))
    return Prior(
        np.hstack([np.tile(means, (m, 1)), np.tile(centers, (m, 1))]),
        np.hstack([np.tile(sds**-2.0, (m, 1)), t_weight / spread**2]),
    )
