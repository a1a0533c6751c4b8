"""A Gaussian process on what the scaling law leaves of one metric, with the law linearized.

Law and process are one Gaussian: the covariance of the scores is J P⁻¹ Jᵀ + s²(ρ K + I), so evidence,
predictions and differences are linear algebra. Kernels are compared by their evidence. See
docs/methods.md, section 3.4.

Shapes: `n` mixtures, `d` domains, `c` centers, `q` points, `p` parameters of the law.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.special import logsumexp

from mixopt.mixture import Array
from mixopt.surrogates import scaling_law
from mixopt.surrogates.covariance import Covariance, ExactCovariance, LowRankCovariance
from mixopt.surrogates.kernels import matern52, square_distances
from mixopt.surrogates.least_squares import NOISE, NOISE_COUNT

NOISE_GRID = np.exp(np.linspace(np.log(0.05), np.log(4.0), 16))
"""Candidate noise variances, in units of the law's own."""
MISSING = 1e8  # noise variance of a missing score, in units of s²
REFINEMENTS = 2  # generalized least-squares steps of the law's parameters given the process
NEGLIGIBLE = 0.02  # share of the evidence below which a kernel is dropped


@dataclass(frozen=True)
class Kernel:
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
class MetricData:
    """One metric's runs: `ratios` (`n x d`), scores `z` and known noise `extra` (`n` each).

    `centers` are the runs whose kernels the process is made of (`c`).
    """

    ratios: Array
    z: Array
    extra: Array
    centers: NDArray[np.intp]

    def at_centers(self) -> "MetricData":
        """Return the centers alone, as the runs."""
        c = self.centers
        return MetricData(self.ratios[c], self.z[c], self.extra[c], np.arange(len(c)))


@dataclass(frozen=True, eq=False)
class KernelCache:
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
    covariances: dict[tuple[Kernel, int], Covariance] = field(default_factory=dict)

    def of_all_metrics(self) -> "KernelCache":
        """Return what has no tilt."""
        return KernelCache(
            {key: one for key, one in self.squares.items() if key[0] == 0},
            {key: one for key, one in self.correlations.items() if key[0] == 0},
            {key: one for key, one in self.covariances.items() if key[0].tilt == 0},
        )

    def kernel(self, kernel: Kernel, runs: MetricData, stretch: Array) -> Array:
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
class ScalingLawMode:
    """One metric's law: parameters, prior means and precisions (`p` each), and noise variance."""

    parameters: Array
    means: Array
    precisions: Array
    noise: float


def select_kernels(
    runs: MetricData,
    law: ScalingLawMode,
    kernels: Sequence[Kernel],
    stretch: Array,
    kept: int,
    cache: KernelCache,
) -> list[tuple[Kernel, float, float]]:
    """Return the `kept` kernels of highest evidence, with noise variance and evidence share.

    `stretch` holds the sensitivities of the domains (`d`), and `cache` keeps what they share. In a large
    table the centers choose the kernels, since all runs would cost most of the fit; all runs then
    give noise and shares.
    """
    if len(runs.centers) < len(runs.z) and len(kernels) > kept:
        chosen = select_kernels(runs.at_centers(), law, kernels, stretch, kept, cache)
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


def _log_evidence(covariance: Covariance, runs: MetricData, right: Array, noises: Array) -> Array:
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
    runs: MetricData, kernel: Kernel, stretch: Array, noise: float, cache: KernelCache
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


class ResidualGP:
    """Law and process at their joint mode, for one metric and one kernel.

    Five covariances per metric would not fit into memory: the leading kernel alone tells variances.
    """

    def __init__(
        self,
        runs: MetricData,
        law: ScalingLawMode,
        kernel: Kernel,
        noise: float,
        stretch: Array,
        cache: KernelCache,
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
        """Return the variance (`q`) of the score at ratios (`q x d`), without noise."""
        lead, half = self._whiten(self._cross(ratios), self._jacobian(ratios))
        own = self.kernel.rho - self._covariance.explained(half)
        return np.asarray(np.square(lead).sum(axis=0) + self.noise * np.maximum(own, 0.0))

    def variance_of_difference(self, ratios: Array, reference: Array) -> Array:
        """Return the variance (`q`) of the score at ratios (`q x d`) minus that at one mixture (`d`)."""
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
    runs: MetricData, law: ScalingLawMode, noise: float, covariance: Covariance
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
