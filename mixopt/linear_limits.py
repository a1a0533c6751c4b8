"""Linear limits on ratios, and which of them are in conflict.

Shapes: `d` domains, `k` weighted models, `c` limits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from mixopt.errors import InfeasibleError
from mixopt.mixture import Array

BOUND_TOLERANCE = 1e-9
"""Slack when a ratio is compared with its bound, for sums in floating point."""


@dataclass(frozen=True, eq=False)
class Row:
    """low <= normal · ratios <= high.

    Attributes:
        normal: Coefficients (`d`).
        low: Lower limit, or -inf.
        high: Upper limit, or inf.
        text: The limit in words.
    """

    normal: Array
    low: float
    high: float
    text: str

    @property
    def fixed(self) -> bool:
        """Whether the row is an equality."""
        return self.high <= self.low


def explain_conflict(rows: Sequence[Row], composition: Array) -> None:
    """Check that some weights meet all rows.

    A linear program with an elastic variable for every row finds the smallest total relaxation that
    makes all of them hold. Rows with a non-zero dual are in conflict; one more program each gives
    the relaxation that suffices if that row alone is changed.

    Args:
        rows: Limits on the ratios (`c`).
        composition: Ratios (`k x d`) of each of the `k` weighted models; the identity if domains
            are weighted.

    Raises:
        InfeasibleError: No weights (`k`) on the simplex meet every row; the message names the rows
            in conflict and by how much each must change.
    """
    sides = [(row.normal, row.high, row) for row in rows if np.isfinite(row.high)]
    sides += [(-row.normal, -row.low, row) for row in rows if np.isfinite(row.low)]
    if not sides:
        return
    normals = np.stack([normal for normal, _, _ in sides]) @ composition.T
    limits = np.array([limit for _, limit, _ in sides])
    missing, prices = _loosen(normals, limits, np.ones(len(sides), dtype=bool))
    if missing <= BOUND_TOLERANCE:
        return
    priced = [(i, row) for i, (_, _, row) in enumerate(sides) if prices[i] < -1e-9]
    remedies = []
    for index, row in priced:
        amount, _ = _loosen(normals, limits, np.arange(len(sides)) == index)
        if np.isfinite(amount):
            remedies.append(f"{row.text} by {amount:.4g}")
    named = list(dict.fromkeys(row.text for _, row in priced))
    is_identity = np.array_equal(composition, np.eye(len(composition)))
    reach = "mixture" if is_identity else "weighting of the experts"
    remedy = f"loosen {', or '.join(remedies)}" if remedies else "loosen more than one of them"
    raise InfeasibleError(
        f"No {reach} meets {'; '.join(named)}{' together' if len(named) > 1 else ''}: {remedy}."
    )


def _loosen(normals: Array, limits: Array, elastic: NDArray[np.bool_]) -> tuple[float, Array]:
    """Return the least total relaxation of the `elastic` (`c`) rows, inf if none suffices, and duals."""
    c, k = normals.shape
    solved = linprog(
        c=np.concatenate([np.zeros(k), np.ones(c)]),
        A_ub=np.hstack([normals, -np.eye(c)]),
        b_ub=limits,
        A_eq=np.concatenate([np.ones(k), np.zeros(c)])[None, :],
        b_eq=[1.0],
        bounds=[(0, None)] * k + [(0, None if free else 0) for free in elastic],
    )
    if solved.status != 0:
        return np.inf, np.zeros(c)
    return float(np.asarray(solved.fun)), np.asarray(solved.ineqlin.marginals)
