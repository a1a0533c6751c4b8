"""Geometry of polytopes: projections onto half-spaces, bisection, and SLSQP's constraints.

Shapes: `n` points, `k` coordinates, `c` half-spaces.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from mixopt.mixture import Array

SWEEPS = 100  # most rounds of projections
TOLERANCE = 1e-7  # largest violation that a projection leaves
BISECTIONS = 50
LEAST_SLACK = 1e-6  # largest slack of a half-space that is as good as none


def project_in_turn(points: Array, normals: Array, offsets: Array) -> Array:
    """Project points onto half-spaces by alternating projections that keep their sum.

    Args:
        points: Points (`n x k`).
        normals: Normals (`c x k`).
        offsets: Offsets (`c`); a half-space is normal · x >= offset.

    Returns:
        Points (`n x k`) that violate no half-space by more than about `TOLERANCE`.
    """
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


def find_implied_equalities(
    normals: Array, offsets: Array, fixed: Array, values: Array
) -> NDArray[np.bool_]:
    """Return which half-spaces (`c`) all points of a polytope meet with equality.

    One linear program over points scaled by τ >= 1 finds a point with slack in every other half-space
    (Freund, Roundy & Todd 1985, "Identifying the set of always-active constraints in a system of
    linear inequalities by a single linear program").

    Args:
        normals: Normals (`c x k`).
        offsets: Offsets (`c`); a half-space is normal · x >= offset.
        fixed: Normals of equalities (`e x k`).
        values: Of the equalities (`e`).
    """
    (c, k), e = normals.shape, len(fixed)
    # variables: the point times τ, τ, and the slacks, each at most 1
    inside = np.hstack([-normals, offsets[:, None], np.eye(c)])
    equal = np.hstack([fixed, -values[:, None], np.zeros((e, c))])
    solved = linprog(
        np.append(np.zeros(k + 1), -np.ones(c)), inside, np.zeros(c), equal, np.zeros(e),
        bounds=[*[(None, None)] * k, (1, 1 / LEAST_SLACK), *[(0, 1)] * c],
    )  # fmt: skip
    if not solved.success:  # no point at all
        return np.zeros(c, dtype=bool)
    slacks = np.asarray(solved.x)[k + 1 :]
    return np.asarray(slacks < 0.5)


def bisect(inside: Array, ends: Array, allowed: Callable[[Array], NDArray[np.bool_]]) -> Array:
    """Return the farthest allowed points on lines.

    Args:
        inside: An allowed point (`k`).
        ends: Ends of the lines (`n x k`).
        allowed: Says which points (`n x k`) are allowed.

    Returns:
        Points (`n x k`) on the lines from `inside` to `ends`, the ends where they are allowed.
    """
    whole = allowed(ends)
    low, high = np.zeros(len(ends)), np.ones(len(ends))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        good = allowed(inside + middle[:, None] * (ends - inside))
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    share = np.where(whole, 1.0, low)[:, None]
    return np.asarray(inside + share * (ends - inside))


def linear_constraints(normals: Array, lows: Array, highs: Array) -> list[dict[str, object]]:
    """Return the limits low <= normal · x <= high in SLSQP's form.

    Args:
        normals: Normals (`c x k`).
        lows: Lower limits (`c`), minus infinity where there is none.
        highs: Upper limits (`c`).

    Returns:
        An equality where both limits are the same, else one inequality by finite limit.
    """
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
