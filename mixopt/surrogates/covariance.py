"""The covariance of the scores of runs: exact, or of low rank for large tables.

A covariance is K + D, with K a kernel of the runs and D a diagonal of noise. Exact factors cost n³ for
each metric, kernel and fold. Beyond `EXACT` runs, K is Φᵀ Φ with Φ = L⁻¹ K_cn and K_cc = L Lᵀ for some
of the runs, the centers (deterministic training conditional; Quinonero-Candela & Rasmussen 2005). All
runs are observations, at a cost linear in their number. See docs/methods.md, section 3.12.

Shapes: `n` runs, `c` centers, `d` features, `q` points, `p` columns.
"""

from copy import copy
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dtrtri

from mixopt.mixture import Array
from mixopt.surrogates.kernels import to_storage_precision

EXACT = 256
"""Most runs with exact factors, and the number of centers beyond."""
JITTER = (
    1e-8  # share of the variance added to the centers' covariance, which may be nearly singular
)
SPREAD_POOL = 4  # runs among which each center is chosen, as a multiple of the centers


class Covariance(Protocol):
    """K + D of the runs, factorized."""

    def gram(self, right: Array) -> Array:
        """Return rightᵀ (K + D)⁻¹ right (`p x p`) of scores or slopes `right` (`n x p`)."""

    def projections(self, right: Array) -> Array:
        """Return P (`c x p`) with directionsᵀ P = k(x, runs) (K + D)⁻¹ right."""

    def coefficients(self, right: Array) -> Array:
        """Return α (`c x p`) with E[f(x)] = k(x, centers) α for scores `right` (`n x p`, or `n`)."""

    def directions(self, cross: Array) -> Array:
        """Return directions (`c x q`), linear in the kernel of points and centers (`q x c`)."""

    def explained(self, directions: Array) -> Array:
        """Return the variance (`q`) that the scores explain along directions."""

    @property
    def log_determinant(self) -> float:
        """The logarithm of |K + D|."""

    def compact(self) -> "Covariance":
        """Return what directions and `explained` need, in storage precision."""


class ExactCovariance:
    """Every run is a center.

    Args:
        kernel: K (`n x n`), overwritten.
        diagonal: D (`n`).
    """

    def __init__(self, kernel: Array, diagonal: Array) -> None:
        kernel[np.diag_indices(len(kernel))] += diagonal
        self._factor = cholesky(kernel, lower=True, overwrite_a=True, check_finite=False)

    def gram(self, right: Array) -> Array:
        white = self.projections(right)
        return np.asarray(white.T @ white)

    def projections(self, right: Array) -> Array:
        return np.asarray(solve_triangular(self._factor, right, lower=True, check_finite=False))

    def coefficients(self, right: Array) -> Array:
        return np.asarray(cho_solve((self._factor, True), right, check_finite=False))

    def directions(self, cross: Array) -> Array:
        return self.projections(cross.T.astype(self._factor.dtype, copy=False))

    def explained(self, directions: Array) -> Array:
        return _square_sums(directions)

    @property
    def log_determinant(self) -> float:
        return float(2 * np.log(np.diag(self._factor)).sum())

    def compact(self) -> "ExactCovariance":
        smaller = copy(self)
        smaller._factor = to_storage_precision(self._factor)
        return smaller


class LowRankCovariance:
    """K is explained by the centers alone.

    Args:
        kernel: K of the centers (`c x c`), overwritten.
        cross: K of centers and runs (`c x n`).
        diagonal: D (`n`).
    """

    def __init__(self, kernel: Array, cross: Array, diagonal: Array) -> None:
        places = np.diag_indices(len(kernel))
        kernel[places] += JITTER * kernel[places].mean()
        root = cholesky(kernel, lower=True, overwrite_a=True, check_finite=False)
        # a product of matrices takes half of the time of solving for as many columns
        self._inverse_root, _ = dtrtri(root, lower=1, overwrite_c=1)
        self._scale = 1 / np.sqrt(diagonal)
        self._scaled = self._inverse_root @ cross
        self._scaled *= self._scale
        inner = self._scaled @ self._scaled.T
        inner[places] += 1
        self._inner = cholesky(inner, lower=True, overwrite_a=True, check_finite=False)

    def gram(self, right: Array) -> Array:
        # Woodbury: no more than noise is lost by the difference, since D is not smaller than noise
        scaled = (right.T * self._scale).T
        seen = self._scaled @ scaled
        left = solve_triangular(self._inner, seen, lower=True, check_finite=False)
        return np.asarray(scaled.T @ scaled - left.T @ left)

    def projections(self, right: Array) -> Array:
        seen = self._scaled @ (right.T * self._scale).T
        return np.asarray(cho_solve((self._inner, True), seen, check_finite=False))

    def coefficients(self, right: Array) -> Array:
        return np.asarray(self._inverse_root.T @ self.projections(right))

    def directions(self, cross: Array) -> Array:
        return np.asarray(self._inverse_root @ cross.T.astype(self._inverse_root.dtype, copy=False))

    def explained(self, directions: Array) -> Array:
        left = solve_triangular(self._inner, directions, lower=True, check_finite=False)
        return _square_sums(directions) - _square_sums(left)

    @property
    def log_determinant(self) -> float:
        inner = 2 * np.log(np.diag(self._inner)).sum()
        return float(inner - 2 * np.log(self._scale).sum())

    def compact(self) -> "LowRankCovariance":
        smaller = copy(self)
        smaller._inverse_root = to_storage_precision(self._inverse_root)
        smaller._inner = to_storage_precision(self._inner)
        smaller._scaled, smaller._scale = np.zeros((0, 0)), np.zeros(0)
        return smaller


def _square_sums(columns: Array) -> Array:
    """Return the sum of squares of each column (`q`), in double precision."""
    return np.asarray(np.square(columns).sum(axis=0, dtype=np.float64))


def choose_centers(points: Array, most: int = EXACT, seed: int = 0) -> NDArray[np.intp]:
    """Return the indices of the centers (`c`, ascending): all runs, or a seeded and spread choice.

    The farthest point of those chosen (Gonzalez 1985), among a random part of the runs: the first
    rows of a sorted table would be of one kind, and the extremes of a large one are outliers.

    Args:
        points: Features of the runs (`n x d`).
        most: Largest number of centers.
        seed: Seed of the part and of the first center.
    """
    n = len(points)
    if n <= most:
        return np.arange(n)
    pool = np.random.default_rng(seed).permutation(n)[: SPREAD_POOL * most]
    candidates = points[pool]
    chosen = [0]
    nearest = np.square(candidates - candidates[0]).sum(axis=1)
    while len(chosen) < most:
        place = int(nearest.argmax())
        if nearest[place] <= 0:  # only repeats are left
            break
        chosen.append(place)
        away = np.square(candidates - candidates[place]).sum(axis=1)
        np.minimum(nearest, away, out=nearest)
    return np.sort(pool[chosen])
