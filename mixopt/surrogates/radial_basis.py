"""Gaussian radial basis functions around the runs, on √r: for smooth tables.

    z(r) = μ + Σ_i α_i exp(−‖√r − √r_i‖² / 2ℓ²) + ε

The coefficients have the normal prior of a Gaussian process with that kernel. All metrics share the
length ℓ and therefore one eigendecomposition for each length that is tried; a metric has its own ratio
of noise to variance. See docs/methods.md, section 3.14.

Shapes: `n` mixtures, `d` domains, `m` metrics, `c` centers, `g` metrics with the same runs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, solve_triangular

from mixopt.mixture import Array
from mixopt.surrogates.covariance import JITTER, choose_centers
from mixopt.surrogates.kernels import sqrt_derivative, square_distances
from mixopt.surrogates.least_squares import NOISE, NOISE_COUNT, relative_precisions

LENGTHS = tuple(float(length) for length in np.geomspace(0.25, 4.0, 9))
"""Lengths that are tried; √r of two mixtures are √2 apart at most."""
PENALTIES = np.exp(np.linspace(-18.0, 6.0, 49))
"""Ratios of noise variance to process variance that are tried."""


@dataclass(frozen=True, eq=False)
class _Group:
    """Metrics with the same runs at the same weights, in the eigenbasis of their design.

    Attributes:
        metrics: Their places (`g`).
        eigen: Eigenvalues of the design (`c`).
        vectors: Eigenvectors (`c x c`).
        projections: Scores in that basis (`c x g`).
        center: Weighted means of the features (`c`).
        intercepts: Weighted means of the scores (`g`).
        squares: Weighted sums of squares of the scores around them (`g`).
        total: Sum of the weights.
        count: Number of runs.
    """

    metrics: NDArray[np.intp]
    eigen: Array
    vectors: Array
    projections: Array
    center: Array
    intercepts: Array
    squares: Array
    total: float
    count: int

    def evidence(self) -> tuple[Array, Array, Array]:
        """Return the log evidence at the best penalty, that penalty, and the noise there (`g` each)."""
        n = self.count + NOISE_COUNT
        spread = self.eigen + PENALTIES[:, None]
        left = self.squares - (1 / spread) @ np.square(self.projections)
        noise = (np.maximum(left, 0.0) + NOISE_COUNT * NOISE) / n
        volume = np.log1p(self.eigen / PENALTIES[:, None]).sum(axis=1)
        scores = -0.5 * (n * np.log(noise) + volume[:, None])
        best = scores.argmax(axis=0)
        places = np.arange(len(best))
        return scores[best, places], PENALTIES[best], noise[best, places]


class RadialBasis:
    """Kernel regression with Gaussian radial basis functions, of the length of highest evidence."""

    def __init__(self) -> None:
        self._length = 1.0
        self._centers = self._root = np.zeros((0, 0))
        self._groups: list[_Group] = []
        self._intercepts = self._penalties = self._noises = np.zeros(0)
        self._alphas = np.zeros((0, 0))

    def fit(self, ratios: Array, scores: Array, noise: Array) -> "RadialBasis":
        points = np.sqrt(ratios)
        centers = choose_centers(points)
        self._centers = points[centers]
        within = square_distances(self._centers, self._centers)
        across = square_distances(self._centers, points)
        alike = _group_metrics(scores, noise)
        tried = []
        for length in LENGTHS:
            root = _root(within, length)
            features = solve_triangular(root, _kernel(across, length), lower=True)
            groups = [_decompose(places, features, scores, noise) for places in alike]
            found = [group.evidence() for group in groups]
            tried.append((sum(float(one[0].sum()) for one in found), length, root, groups, found))
        _, self._length, self._root, self._groups, found = max(tried, key=lambda one: one[0])
        m = scores.shape[1]
        self._intercepts, self._penalties, self._noises = np.zeros(m), np.ones(m), np.ones(m)
        self._alphas = np.zeros((len(centers), m))
        for group, (_, penalties, noises) in zip(self._groups, found, strict=True):
            places = group.metrics
            self._penalties[places], self._noises[places] = penalties, noises
            solved = group.projections / (group.eigen[:, None] + penalties)
            coefficients = group.vectors @ solved
            self._intercepts[places] = group.intercepts - group.center @ coefficients
            self._alphas[:, places] = solve_triangular(
                self._root, coefficients, lower=True, trans="T"
            )
        return self

    def refit(self, ratios: Array, scores: Array, noise: Array) -> "RadialBasis":
        return RadialBasis().fit(ratios, scores, noise)

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        features = self._features(ratios)
        variance = self._variance(features, 1.0, centered=True)
        return self.mean(ratios), np.sqrt(variance + self._noises)

    def mean(self, ratios: Array) -> Array:
        return np.asarray(self._intercepts + self._cross(ratios) @ self._alphas)

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        features = self._features(np.vstack([ratios, reference]))
        away = square_distances(np.sqrt(ratios), np.sqrt(reference[None]))[:, 0]
        own = 2 * (1 - _kernel(away, self._length))
        mean = self.mean(ratios) - self.mean(reference[None])
        return mean, self._variance(features[:-1] - features[-1], own, centered=False)

    def gradient(self, ratios: Array, weights: Array) -> Array:
        steep = self._cross(ratios) * (weights @ self._alphas.T) / self._length**2
        by_root = steep @ self._centers - steep.sum(axis=1, keepdims=True) * np.sqrt(ratios)
        return np.asarray(by_root * sqrt_derivative(ratios))

    def _cross(self, ratios: Array) -> Array:
        return _kernel(square_distances(np.sqrt(ratios), self._centers), self._length)

    def _features(self, ratios: Array) -> Array:
        """Return features (`n x c`) whose products are the kernel that the centers explain."""
        return np.asarray(solve_triangular(self._root, self._cross(ratios).T, lower=True).T)

    def _variance(self, features: Array, own: Array | float, *, centered: bool) -> Array:
        """Return the variance (`n x m`) of the regression along features (`n x c`).

        Args:
            features: At points, or differences of them.
            own: Their prior variance in units of the process (`n`).
            centered: Whether the mean of the runs is a part: not in a difference.
        """
        variance = np.zeros((len(features), len(self._noises)))
        missed = np.maximum(own - np.square(features).sum(axis=1), 0.0)[:, None]
        for group in self._groups:
            places = group.metrics
            shift = group.center if centered else 0.0
            squares = np.square((features - shift) @ group.vectors)
            spread = group.eigen[:, None] + self._penalties[places]
            units = squares @ (1 / spread) + missed / self._penalties[places]
            variance[:, places] = self._noises[places] * (units + centered / group.total)
        return variance


def _kernel(square: Array, length: float) -> Array:
    return np.asarray(np.exp(square / (-2 * length**2)))


def _root(within: Array, length: float) -> Array:
    """Return the Cholesky factor of the centers' kernel (`c x c`)."""
    kernel = _kernel(within, length)
    kernel[np.diag_indices(len(kernel))] += JITTER
    return np.asarray(cholesky(kernel, lower=True, overwrite_a=True, check_finite=False))


def _group_metrics(scores: Array, noise: Array) -> list[NDArray[np.intp]]:
    """Return the places of metrics with the same missing scores and the same noise."""
    groups: dict[bytes, list[int]] = {}
    for m, (z, extra) in enumerate(zip(scores.T, noise.T, strict=True)):
        groups.setdefault(np.isfinite(z).tobytes() + extra.tobytes(), []).append(m)
    return [np.array(places, dtype=np.intp) for places in groups.values()]


def _decompose(metrics: NDArray[np.intp], features: Array, scores: Array, noise: Array) -> _Group:
    known = np.isfinite(scores[:, metrics[0]])
    trust = relative_precisions(noise[known, metrics[0]])
    x, y = features[:, known], scores[np.ix_(known, metrics)]
    share = trust / trust.sum()
    center, intercepts = x @ share, share @ y
    x = (x - center[:, None]) * np.sqrt(trust)
    y = (y - intercepts) * np.sqrt(trust)[:, None]
    eigen, vectors = eigh(x @ x.T, check_finite=False)
    return _Group(
        metrics, np.maximum(eigen, 0.0), vectors, vectors.T @ (x @ y), center, intercepts,
        np.square(y).sum(axis=0), float(trust.sum()), len(trust),
    )  # fmt: skip
