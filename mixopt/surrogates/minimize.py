"""`scipy.optimize.minimize` for objectives on NumPy arrays.

SciPy's type stubs accept neither an array of bounds nor an objective on arrays of unknown rank;
this wrapper holds the one exception to the type check.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from scipy import optimize

from mixopt.mixture import Array

Objective = Callable[[Array], tuple[float, Array]]  # value and gradient (`p`) at a point (`p`)


def minimize(
    objective: Objective | Callable[[Array], float],
    start: Array,
    *,
    method: Literal["L-BFGS-B", "SLSQP"],
    bounds: Array,
    steps: int,
    constraints: Sequence[dict[str, Any]] = (),
    tolerance: float | None = None,
    gradient: bool = True,
) -> Array:
    """Return a local minimum (`p`) of `objective` within bounds and constraints.

    Args:
        objective: Returns value and gradient, or the value alone if `gradient` is false.
        start: Starting point (`p`).
        method: SciPy's method.
        bounds: Lower and upper bounds (`p x 2`).
        steps: Largest number of iterations.
        constraints: As SciPy's SLSQP takes them.
        tolerance: SciPy's `ftol`; its default if None.
        gradient: Whether `objective` returns a gradient; finite differences otherwise.
    """
    options: dict[str, Any] = {"maxiter": steps}
    if tolerance is not None:
        options["ftol"] = tolerance
    result = optimize.minimize(  # type: ignore[call-overload]
        objective,
        start,
        jac=gradient,
        method=method,
        bounds=[(float(low), float(high)) for low, high in bounds],
        constraints=list(constraints),
        options=options,
    )
    return np.asarray(result.x, dtype=np.float64)
