"""The scaling law in effective tokens plus a Gaussian process on its residuals.

`scaling_law` fits the law of all metrics at once, and `_ResidualGP` the residuals of each. With the
law linearized at its mode, law and process are one Gaussian: the covariance of the scores is
J P⁻¹ Jᵀ + s²(ρ K + I), so evidence, predictions and differences are linear algebra. The model
averages kernels of the process by their evidence. See docs/methods.md, sections 3.3 and 3.4.

Shapes: `n` mixtures, `d` domains, `m` metrics, `k` processes, `q` points, `p` parameters of the law.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.special import logsumexp

from mixopt.mixture import Array
from mixopt.surrogates import scaling_law
from mixopt.surrogates.covariance import (
    Covariance,
    ExactCovariance,
    LowRankCovariance,
    choose_centers,
)
from mixopt.surrogates.kernels import (
    SMALL_RATIO,
    KernelExpansions,
    matern52,
    sqrt_derivative,
    square_distances,
)
from mixopt.surrogates.least_squares import NOISE, NOISE_COUNT

NOISE_GRID = np.exp(np.linspace(np.log(0.05), np.log(4.0), 16))
"""Candidate noise variances, in units of the law's own."""
MISSING = 1e8  # noise variance of a missing score, in units of s²
REFINEMENTS = 2  # generalized least-squares steps of the law's parameters given the process
NEGLIGIBLE = 0.02  # share of the evidence below which a kernel is dropped


@dataclass(frozen=True)
class _Kernel:
    """ρ·Matérn-5/2 over √r·S^tilt with length ℓ; with ρ = 0 the law stands alone."""

    rho: float
    length: float
    tilt: float

    def between(self, first: Array, second: Array) -> Array:
        """Return the covariance (`a x b`) of points `a x d` and `b x d`, in units of the noise."""
        if not self.rho:
            return np.zeros((len(first), len(second)))
        return self.rho * matern52(square_distances(first, second), self.length)


@dataclass(frozen=True, eq=False)
class _MetricData:
    """One metric's runs: `ratios` (`n x d`), scores `z` and known noise `extra` (`n` each).

    `centers` are the runs whose kernels the process is made of (`c`).
    """

    ratios: Array
    z: Array
    extra: Array
    centers: NDArray[np.intp]

    def at_centers(self) -> "_MetricData":
        """Return the centers alone, as the runs."""
        c = self.centers
        return _MetricData(self.ratios[c], self.z[c], self.extra[c], np.arange(len(c)))


@dataclass(frozen=True, eq=False)
class _KernelCache:
    """What kernels of one metric share, and what metrics share.

    Without a tilt all metrics have the same distances and correlations, and without known noise the
    same covariances. Keys have the number of runs, since kernels are chosen by the centers alone.

    Attributes:
        squares: Squared distances of centers and runs (`c x n`), by tilt.
        correlations: Matérn correlations (`c x n`), by tilt and length; ρ is a factor on them.
        covariances: By kernel.
    """

    squares: dict[tuple[float, int], Array] = field(default_factory=dict)
    correlations: dict[tuple[float, float, int], Array] = field(default_factory=dict)
    covariances: dict[tuple[_Kernel, int], Covariance] = field(default_factory=dict)

    def of_all_metrics(self) -> "_KernelCache":
        """Return what has no tilt."""
        return _KernelCache(
            {key: one for key, one in self.squares.items() if key[0] == 0},
            {key: one for key, one in self.correlations.items() if key[0] == 0},
            {key: one for key, one in self.covariances.items() if key[0].tilt == 0},
        )

    def kernel(self, kernel: _Kernel, runs: _MetricData, stretch: Array) -> Array:
        """Return the kernel of centers and runs (`c x n`), in units of the noise."""
        n = len(runs.z)
        if not kernel.rho:
            return np.zeros((len(runs.centers), n))
        key, by_length = (kernel.tilt, n), (kernel.tilt, kernel.length, n)
        if key not in self.squares:
            points = np.sqrt(runs.ratios) * stretch**kernel.tilt
            self.squares[key] = square_distances(points[runs.centers], points)
        if by_length not in self.correlations:
            self.correlations[by_length] = matern52(self.squares[key], kernel.length)
        return np.asarray(kernel.rho * self.correlations[by_length])


@dataclass(frozen=True, eq=False)
class _ScalingLawMode:
    """One metric's law: parameters, prior means and precisions (`p` each), and noise variance."""

    parameters: Array
    means: Array
    precisions: Array
    noise: float


def _select_kernels(
    runs: _MetricData,
    law: _ScalingLawMode,
    kernels: Sequence[_Kernel],
    stretch: Array,
    kept: int,
    cache: _KernelCache,
) -> list[tuple[_Kernel, float, float]]:
    """Return the `kept` kernels of highest evidence, with noise variance and evidence share.

    `stretch` holds the sensitivities of the domains (`d`), and `cache` keeps what they share. In a large
    table the centers choose the kernels, since all runs would cost most of the fit; all runs then
    give noise and shares.
    """
    if len(runs.centers) < len(runs.z) and len(kernels) > kept:
        chosen = _select_kernels(runs.at_centers(), law, kernels, stretch, kept, cache)
        kernels = [kernel for kernel, _, _ in chosen]
    values, jacobian = scaling_law.evaluate(law.parameters[None], runs.ratios)
    target = runs.z - values[0] - jacobian[0] @ (law.means - law.parameters)
    right = np.column_stack([target, jacobian[0] * law.precisions**-0.5])
    noises = law.noise * NOISE_GRID
    covariances = (_covariance(runs, kernel, stretch, law.noise, cache) for kernel in kernels)
    scores = np.stack([_log_evidence(one, runs, right, noises) for one in covariances])
    peaks = logsumexp(scores, axis=1)
    best = np.argsort(-peaks, kind="stable")[:kept]
    shares = np.exp(peaks[best] - logsumexp(peaks[best]))
    return [
        (kernels[k], float(noises[scores[k].argmax()]), float(share))
        for k, share in zip(best, shares, strict=True)
        if share > NEGLIGIBLE
    ]


def _log_evidence(covariance: Covariance, runs: _MetricData, right: Array, noises: Array) -> Array:
    """Return the log evidence of the scores at each noise variance, up to a constant.

    In the eigenbasis of the whitened Jacobian the noise variance is a scalar, so a grid of it
    costs one factorization.
    """
    count = np.isfinite(runs.extra).sum()
    gram = covariance.gram(right)
    eigen, vectors = eigh(gram[1:, 1:], check_finite=False)
    eigen, projected = np.maximum(eigen, 0.0), np.square(vectors.T @ gram[1:, 0])
    s2 = noises[:, None]
    misfit = (gram[0, 0] - (projected / (s2 + eigen)).sum(axis=1)) / noises
    volume = np.log1p(eigen / s2).sum(axis=1) + count * np.log(noises)
    volume += covariance.log_determinant
    prior = NOISE_COUNT / 2 * (np.log(noises) + NOISE / noises)
    return np.asarray(-0.5 * (misfit + volume) - prior)


def _covariance(
    runs: _MetricData, kernel: _Kernel, stretch: Array, noise: float, cache: _KernelCache
) -> Covariance:
    kept, key = not runs.extra.any(), (kernel, len(runs.z))
    if kept and key in cache.covariances:
        return cache.covariances[key]
    diagonal = 1 + np.minimum(runs.extra / noise, MISSING)
    cross = cache.kernel(kernel, runs, stretch)
    covariance: Covariance
    if len(runs.centers) == len(runs.z):
        covariance = ExactCovariance(cross, diagonal)
    else:
        own = cross[:, runs.centers] if kernel.rho else np.eye(len(cross))
        covariance = LowRankCovariance(own, cross, diagonal)
    if kept:
        cache.covariances[key] = covariance
    return covariance


class _ResidualGP:
    """Law and process at their joint mode, for one metric and one kernel.

    Five covariances per metric would not fit into memory: the leading kernel alone tells variances.
    """

    def __init__(
        self,
        runs: _MetricData,
        law: _ScalingLawMode,
        kernel: _Kernel,
        noise: float,
        stretch: Array,
        cache: _KernelCache,
        *,
        leading: bool = True,
    ) -> None:
        self.kernel, self.noise = kernel, noise
        self.stretch = stretch**kernel.tilt
        self._points = np.sqrt(runs.ratios[runs.centers]) * self.stretch
        covariance = _covariance(runs, kernel, stretch, noise, cache)
        self.parameters, self.alpha, curvature = _joint_mode(runs, law, noise, covariance)
        if leading:
            self._root = cholesky(curvature, lower=True)
            self._design = covariance.projections(self._jacobian(runs.ratios))
            self._covariance = covariance.compact()

    def variance(self, ratios: Array) -> Array:
        lead, half = self._whiten(self._cross(ratios), self._jacobian(ratios))
        own = self.kernel.rho - self._covariance.explained(half)
        return np.asarray(np.square(lead).sum(axis=0) + self.noise * np.maximum(own, 0.0))

    def variance_of_difference(self, ratios: Array, reference: Array) -> Array:
        here, there = self._cross(ratios), self._cross(reference[None])
        lead, half = self._whiten(
            here - there, self._jacobian(ratios) - self._jacobian(reference[None])
        )
        points, one = np.sqrt(ratios) * self.stretch, np.sqrt(reference[None]) * self.stretch
        own = 2 * (self.kernel.rho - self.kernel.between(points, one)[:, 0])
        own -= self._covariance.explained(half)
        return np.asarray(np.square(lead).sum(axis=0) + self.noise * np.maximum(own, 0.0))

    def _cross(self, ratios: Array) -> Array:
        """Return the kernel of mixtures and centers (`q x c`)."""
        return self.kernel.between(np.sqrt(ratios) * self.stretch, self._points)

    def _jacobian(self, ratios: Array) -> Array:
        return np.asarray(scaling_law.evaluate(self.parameters[None], ratios)[1][0])

    def _whiten(self, cross: Array, jacobian: Array) -> tuple[Array, Array]:
        """Return whitened posterior directions of the law (`p x q`) and the process (`c x q`)."""
        half = self._covariance.directions(cross)
        left = jacobian - half.T @ self._design
        return np.asarray(solve_triangular(self._root, left.T, lower=True)), half


def _joint_mode(
    runs: _MetricData, law: _ScalingLawMode, noise: float, covariance: Covariance
) -> tuple[Array, Array, Array]:
    """Return the law's parameters given the process, by Gauss-Newton.

    Returns:
        Parameters (`p`), coefficients of the process (`c`), and the cost's curvature there (`p x p`).
    """
    theta, least = law.parameters, np.inf
    best, residuals, curvature = theta, runs.z, np.diag(law.precisions)
    for _ in range(REFINEMENTS + 1):
        values, jacobian = scaling_law.evaluate(theta[None], runs.ratios)
        missed = runs.z - values[0]
        gram = covariance.gram(np.column_stack([missed, jacobian[0]]))
        away = theta - law.means
        cost = float(gram[0, 0] / noise + law.precisions @ np.square(away)) / 2
        if cost >= least:
            break
        best, least, residuals = theta, cost, missed
        curvature = gram[1:, 1:] / noise + np.diag(law.precisions)
        gradient = gram[1:, 0] / noise - law.precisions * away
        theta = theta + np.clip(np.linalg.solve(curvature, gradient), -2.0, 2.0)
    return best, covariance.coefficients(residuals), curvature


SHAPES = ((1, 1.5), (4, 1.5), (16, 1.5), (4, 3.0), (16, 3.0), (64, 3.0), (4, 0.7), (1, 0.7))
"""(ρ, ℓ): the variance of the process in units of the noise, and its length."""
TILTS = (0.0, 0.5)  # exponents of the sensitivities that stretch √r
KERNELS = (
    _Kernel(0.0, 1.0, 0.0),
    *(_Kernel(float(rho), length, tilt) for tilt in TILTS for rho, length in SHAPES),
)
KEPT, KEPT_OF_MANY, MANY = 5, 2, 256
"""Kernels averaged for a metric; fewer from `MANY` runs, whose evidence separates kernels."""
FRESH_BELOW = 48  # number of runs below which a refit starts from the prior
LEAST_SENSITIVITY = 0.03


class ScalingLawGP:
    """One scaling law for all metrics, so that a few runs of each inform the others."""

    def __init__(self) -> None:
        self._law: scaling_law.FittedScalingLaw | None = None
        self._roots = np.zeros((0, 0))
        self._processes: list[list[tuple[float, _ResidualGP]]] = []

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "ScalingLawGP":
        self._law = None
        return self._fit(ratios, scores, noise, [list(KERNELS)] * scores.shape[1])

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "ScalingLawGP":
        """Return a new model fitted to other runs.

        It starts from these parameters and kernels if there are many runs. Below a few dozen it
        starts afresh, because parameters that have seen a run predict that run too well.
        """
        if len(ratios) < FRESH_BELOW:
            return ScalingLawGP().fit(ratios, scores, noise)
        kept = [[process.kernel for _, process in metric] for metric in self._processes]
        other = ScalingLawGP()
        other._law = self._law
        return other._fit(ratios, scores, noise, kept)

    def _fit(
        self, ratios: Array, scores: Array, noise: Array, kernels: list[list[_Kernel]]
    ) -> "ScalingLawGP":
        known = np.isfinite(scores)
        z, extra = np.where(known, scores, 0.0), np.where(known, noise, np.inf)
        law = self._law = scaling_law.fit_scaling_law(ratios, z, extra, self._law)
        _, jacobian = scaling_law.evaluate(law.parameters, ratios)
        stretches = _sensitivities(jacobian[..., scaling_law.N_SCALARS :], known.T)
        kept = KEPT if len(ratios) < MANY else KEPT_OF_MANY
        cache = _KernelCache()
        self._processes = []
        centers = choose_centers(np.sqrt(ratios))
        self._roots = np.sqrt(ratios[centers])
        for m, stretch in enumerate(stretches):
            prior, noise_m = law.prior, float(law.noise[m])
            mode = _ScalingLawMode(law.parameters[m], prior.means[m], prior.precisions[m], noise_m)
            runs = _MetricData(ratios, z[:, m], extra[:, m], centers)
            cache = cache.of_all_metrics()
            chosen = _select_kernels(runs, mode, kernels[m], stretch, kept, cache)
            total = sum(share for _, _, share in chosen)
            processes: list[tuple[float, _ResidualGP]] = []
            for kernel, s2, share in chosen:
                leading = not processes
                process = _ResidualGP(runs, mode, kernel, s2, stretch, cache, leading=leading)
                processes.append((share / total, process))
            self._processes.append(processes)
        return self

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        mean, disagreement = self._average(ratios)
        leading = [metric[0][1] for metric in self._processes]
        own = [process.variance(ratios) + process.noise for process in leading]
        return mean, np.sqrt(np.stack(own, axis=1) + disagreement)

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        _, shares, _ = self._batch
        apart = self._each(ratios) - self._each(reference[None])
        mean = shares.T @ apart
        disagreement = np.maximum(shares.T @ np.square(apart) - np.square(mean), 0.0)
        leading = [metric[0][1] for metric in self._processes]
        own = [process.variance_of_difference(ratios, reference) for process in leading]
        return mean.T, np.stack(own, axis=1) + disagreement.T

    def mean(self, ratios: Array) -> Array:
        _, shares, _ = self._batch
        return np.asarray((shares.T @ self._each(ratios)).T)

    def _each(self, ratios: Array) -> Array:
        parameters, _, expansions = self._batch
        values = scaling_law.evaluate_values(parameters, ratios)
        return np.asarray(values + expansions.values(np.sqrt(ratios)))

    def _average(self, ratios: Array) -> tuple[Array, Array]:
        """Return mean and variance over a metric's kernels, `n x m` each."""
        each, (_, shares, _) = self._each(ratios), self._batch
        mean = shares.T @ each
        disagreement = shares.T @ np.square(each) - np.square(mean)
        return mean.T, np.maximum(disagreement, 0.0).T

    def gradient(self, ratios: Array, weights: Array) -> Array:
        parameters, shares, expansions = self._batch
        by_process = shares @ weights.T
        by_root = expansions.gradient(np.sqrt(ratios), by_process)
        by_law = scaling_law.gradient(parameters, ratios, by_process.T, SMALL_RATIO)
        return np.asarray(by_law + by_root * sqrt_derivative(ratios))

    @cached_property
    def _batch(self) -> tuple[Array, Array, KernelExpansions]:
        """The law's parameters (`k x p`) and shares (`k x m`) of all processes, and their sums.

        In arrays, an evaluation costs a few array operations.
        """
        listed = [(m, share, p) for m, metric in enumerate(self._processes) for share, p in metric]
        shares = np.zeros((len(listed), len(self._processes)))
        for index, (m, share, _) in enumerate(listed):
            shares[index, m] = share
        processes = [process for _, _, process in listed]
        expansions = KernelExpansions(
            self._roots,
            np.stack([process.kernel.rho * process.alpha for process in processes]),
            np.stack([process.stretch / process.kernel.length for process in processes]),
        )
        return np.stack([p.parameters for p in processes]), shares, expansions

    def budget_effect(self, ratios: Array, share: Array) -> Array:
        """Return the change of scores (`n x m`) when a run has a share (`n`) of the tokens.

        The law is in effective tokens, so a run of fewer tokens is the same formula at ratios
        that sum to less than one.
        """
        parameters = self._leading_parameters()
        fewer = scaling_law.evaluate_values(parameters, ratios * share[:, None])
        full = scaling_law.evaluate_values(parameters, ratios)
        return np.asarray((fewer - full).T)

    def budget_gradient(self, ratios: Array, share: Array, weights: Array) -> tuple[Array, Array]:
        """Return gradient (`n x d`) and derivative by share (`n`) of Σ_m weights_nm · effect_nm."""
        parameters = self._leading_parameters()
        fewer = ratios * share[:, None]
        by_fewer = scaling_law.gradient(parameters, fewer, weights, SMALL_RATIO)
        by_full = scaling_law.gradient(parameters, ratios, weights, SMALL_RATIO)
        return share[:, None] * by_fewer - by_full, (by_fewer * ratios).sum(axis=1)

    def _leading_parameters(self) -> Array:
        return np.stack([metric[0][1].parameters for metric in self._processes])


def _sensitivities(derivatives: Array, known: Array) -> Array:
    """Return the root mean square of ∂z/∂e_j over the runs (`m x d`), relative to the largest."""
    sizes = np.sqrt(np.where(known[..., None], np.square(derivatives), 0.0).mean(axis=1))
    largest = np.maximum(sizes.max(axis=1, keepdims=True), 1e-12)
    return np.asarray(np.maximum(sizes / largest, LEAST_SENSITIVITY))
