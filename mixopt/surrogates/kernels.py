"""Matérn kernels between mixtures, and the slopes that proposing by gradient needs.

Shapes: `a` and `b` points, `d` domains, `t` metrics.
"""

import numpy as np

from mixopt.mixture import Array

ROOT5 = np.sqrt(5.0)
SMALL_RATIO = 1e-6
"""Below it the slope of √r is taken where it stands, so that it stays finite at r = 0."""


LARGE = 256
"""Runs from which factors are kept in single precision."""


def for_keeping(factor: Array) -> Array:
    """A Cholesky factor (`n x n`) as it is kept: halved where a hundred metrics have one each.

    Rounding it to seven digits moves a variance by less than a percent at the conditions here.
    """
    return factor if len(factor) < LARGE else factor.astype(np.float32)


def square_distances(first: Array, second: Array) -> Array:
    """Squared Euclidean distances of `... x a x d` and `... x b x d`: `... x a x b`."""
    cross = first @ np.swapaxes(second, -1, -2)
    a, b = np.square(first).sum(-1)[..., :, None], np.square(second).sum(-1)[..., None, :]
    return np.asarray(np.maximum(a + b - 2 * cross, 0.0))


def matern52(square: Array, length: float) -> Array:
    """Matérn-5/2 correlations from squared distances (Rasmussen & Williams, eq. 4.17)."""
    scaled = ROOT5 * np.sqrt(square) / length
    return np.asarray((1 + scaled + scaled * scaled / 3) * np.exp(-scaled))


def matern52_slope(square: Array, length: float) -> Array:
    """Derivative of `matern52` by half the squared distance: −(5/3ℓ²)(1 + √5·r/ℓ)e^{−√5·r/ℓ}."""
    scaled = ROOT5 * np.sqrt(square) / length
    return np.asarray(-(5 / (3 * length**2)) * (1 + scaled) * np.exp(-scaled))


def matern52_and_slope(square: Array) -> tuple[Array, Array]:
    """`matern52` and `matern52_slope` at length one, with one exponential."""
    scaled = ROOT5 * np.sqrt(square)
    decay = np.exp(-scaled)
    return (1 + scaled + scaled * scaled / 3) * decay, -(5 / 3) * (1 + scaled) * decay


def root_slope(ratios: Array) -> Array:
    """d√r/dr, finite at zero."""
    return np.asarray(0.5 / np.sqrt(np.maximum(ratios, SMALL_RATIO)))
