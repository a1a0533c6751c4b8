"""SciPy's optimisers behind one typed door."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from scipy.optimize import minimize

from mixopt.mixture import Array

Objective = Callable[[Array], tuple[float, Array]]
"""Value and gradient (`p`) at a point (`p`)."""


def minimise(
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
    """Where `objective` is least near `start` (`p`), inside `bounds` (`p x 2`) and constraints.

    With `gradient=False` the objective gives its value alone and slopes are finite differences.
    """
    options: dict[str, Any] = {"maxiter": steps}
    if tolerance is not None:
        options["ftol"] = tolerance
    found = minimize(  # type: ignore[call-overload]
        objective,
        start,
        jac=gradient,
        method=method,
        bounds=[(float(low), float(high)) for low, high in bounds],
        constraints=list(constraints),
        options=options,
    )
    return np.asarray(found.x, dtype=np.float64)
