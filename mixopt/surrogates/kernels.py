"""Matérn-5/2 kernels between mixtures, their derivatives, and batched sums of kernels.

See docs/methods.md, section 3.2.
Shapes: `a` and `b` points, `n` runs, `d` features, `q` points, `p` expansions.
"""

from collections.abc import Iterator

import numpy as np

from mixopt.mixture import Array

ROOT5 = np.sqrt(5.0)
SMALL_RATIO = 1e-6  # below it the derivative of √r is held constant, so that it is finite at r = 0
SINGLE_PRECISION_FROM = 256  # runs from which Cholesky factors are stored in single precision
CHUNK = 2_000_000  # kernel values computed at once: about 100 MB with intermediate arrays


def to_storage_precision(factor: Array) -> Array:
    """Return a Cholesky factor in single precision if it is large: a hundred metrics have one each.

    At the condition numbers here, rounding changes a predicted variance by less than one percent.

    Args:
        factor: `n x n`.
    """
    return factor if len(factor) < SINGLE_PRECISION_FROM else factor.astype(np.float32)


def square_distances(first: Array, second: Array) -> Array:
    """Return squared Euclidean distances.

    Args:
        first: Points (`... x a x d`).
        second: Points (`... x b x d`).

    Returns:
        Distances (`... x a x b`).
    """
    square = first @ np.swapaxes(second, -1, -2)
    square *= -2
    square += np.square(first).sum(-1)[..., :, None]
    square += np.square(second).sum(-1)[..., None, :]
    return np.asarray(np.maximum(square, 0.0, out=square))


def matern52(square: Array, length: float) -> Array:
    """Return Matérn-5/2 correlations (Rasmussen & Williams, eq. 4.17).

    Args:
        square: Squared distances, of any shape (`a x b`).
        length: Length scale.
    """
    # in place: with temporary arrays, large tables wait for memory
    scaled = np.sqrt(square)
    scaled *= ROOT5 / length
    correlation = scaled / 3
    correlation += 1
    correlation *= scaled
    correlation += 1
    np.negative(scaled, out=scaled)
    correlation *= np.exp(scaled, out=scaled)
    return np.asarray(correlation)


def matern52_slope(square: Array, length: float) -> Array:
    """Return −(5/3ℓ²)(1 + √5·r/ℓ)e^{−√5·r/ℓ}, the derivative of `matern52`.

    Args:
        square: Squared distances r², of any shape (`a x b`).
        length: Length scale ℓ.

    Returns:
        Derivative by half the squared distance.
    """
    scaled = np.sqrt(square)
    scaled *= ROOT5 / length
    slope = scaled + 1
    slope *= -(5 / (3 * length**2))
    np.negative(scaled, out=scaled)
    slope *= np.exp(scaled, out=scaled)
    return np.asarray(slope)


def matern52_with_slope(square: Array) -> tuple[Array, Array]:
    """Return `matern52` and `matern52_slope` of length 1, which share their exponential.

    Args:
        square: Squared distances, of any shape (`a x b`).
    """
    scaled = ROOT5 * np.sqrt(square)
    slope = np.exp(-scaled)
    near = np.square(scaled)
    near /= 3
    scaled += 1
    near += scaled
    near *= slope
    slope *= scaled
    slope *= -5 / 3
    return near, slope


def sqrt_derivative(ratios: Array) -> Array:
    """Return d√r/dr, finite at zero.

    Args:
        ratios: `n x d`.

    Returns:
        Derivatives (`n x d`).
    """
    return np.asarray(0.5 / np.sqrt(np.maximum(ratios, SMALL_RATIO)))


class KernelExpansions:
    """Sums of kernels around the runs, the posterior means of `p` Gaussian processes in one batch.

        f_p(x) = Σ_i α_pi · Matérn52(‖s_p ∘ (x − x_i)‖)

    Args:
        points: The runs x_i (`n x d`).
        alphas: Coefficients α (`p x n`).
        inverse_lengths: Scales s (`p x d`).
    """

    def __init__(self, points: Array, alphas: Array, inverse_lengths: Array) -> None:
        self._points, self._alphas = points, alphas
        self._squares = np.square(inverse_lengths)
        self._norms = np.square(points) @ self._squares.T

    def values(self, x: Array) -> Array:
        """Return f (`p x q`) at `q x d` features."""
        values = np.empty((len(self._alphas), len(x)))
        for part in self._chunks(len(x)):
            near = matern52(self._distances(x[part]), 1.0)
            values[:, part] = np.einsum("pqn,pn->pq", near, self._alphas)
        return values

    def gradient(self, x: Array, weights: Array) -> Array:
        """Return the gradient (`q x d`) of Σ_p weights_pq · f_p with respect to the features."""
        gradient = np.empty(x.shape)
        for part in self._chunks(len(x)):
            slope = matern52_slope(self._distances(x[part]), 1.0)
            steep = slope * self._alphas[:, None, :] * weights[:, part, None]
            here = steep.sum(axis=2, keepdims=True) * x[part]
            gradient[part] = np.einsum("pqd,pd->qd", here - steep @ self._points, self._squares)
        return gradient

    def _distances(self, x: Array) -> Array:
        """Return squared distances, `p x q x n`."""
        p, n = self._alphas.shape
        # one product of matrices for all expansions
        scaled = (x[None] * (-2 * self._squares[:, None])).reshape(p * len(x), -1)
        square = (scaled @ self._points.T).reshape(p, len(x), n)
        square += (np.square(x) @ self._squares.T).T[:, :, None]
        square += self._norms.T[:, None, :]
        return np.asarray(np.maximum(square, 0.0, out=square))

    def _chunks(self, q: int) -> Iterator[slice]:
        step = max(1, CHUNK // max(1, self._alphas.size))
        for start in range(0, q, step):
            yield slice(start, start + step)
