"""Points, half-spaces and lines: the geometry under the search space.

Shapes: `n` points, `k` coordinates, `c` half-spaces.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mixopt.mixture import Array

SWEEPS = 100
TOLERANCE = 1e-7
BISECTIONS = 50


def project_in_turn(points: Array, normals: Array, offsets: Array) -> Array:
    """`points` (`n x k`) projected in turns onto the half-spaces that they violate, sum kept."""
    points = points.copy()
    centred = normals - normals.mean(axis=1, keepdims=True)
    lengths = np.square(centred).sum(axis=1)
    for _ in range(SWEEPS):
        worst = 0.0
        for normal, inside, length, offset in zip(normals, centred, lengths, offsets, strict=True):
            missing = np.maximum(offset - points @ normal, 0.0)
            if length > 0 and missing.any():
                points += (missing / length)[:, None] * inside
                worst = max(worst, float(missing.max()))
        if worst < TOLERANCE:
            break
    return points


def bisect(inside: Array, ends: Array, allowed: Callable[[Array], NDArray[np.bool_]]) -> Array:
    """The farthest allowed points (`n x k`) on the lines from `inside` (`k`) to `ends`."""
    whole = allowed(ends)
    low, high = np.zeros(len(ends)), np.ones(len(ends))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        good = allowed(inside + middle[:, None] * (ends - inside))
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    share = np.where(whole, 1.0, low)[:, None]
    return np.asarray(inside + share * (ends - inside))


def linear_constraints(normals: Array, lows: Array, highs: Array) -> list[dict[str, object]]:
    """Rows low <= normal · x <= high as SLSQP takes them."""
    constraints: list[dict[str, object]] = []
    for normal, low, high in zip(normals, lows, highs, strict=True):
        if low == high:
            constraints.append(_linear("eq", normal, low))
            continue
        if np.isfinite(low):
            constraints.append(_linear("ineq", normal, low))
        if np.isfinite(high):
            constraints.append(_linear("ineq", -normal, -high))
    return constraints


def _linear(kind: str, normal: Array, offset: float) -> dict[str, object]:
    return {"type": kind, "fun": lambda x: float(normal @ x) - offset, "jac": lambda x: normal}
