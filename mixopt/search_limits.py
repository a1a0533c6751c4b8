"""Limits that a search space may have beside bounds by domain: groups, inequalities, neighborhoods.

Shapes: `d` domains, `n` mixtures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import ArgumentTypeError, MixtureError, require_number
from mixopt.mixture import Array, nearest

NEAR_TOLERANCE = 1e-6
"""Slack of a Hellinger distance, the rounding of √(1 − overlap) near zero."""


@dataclass(frozen=True)
class Group:
    """Bounds on the sum of the ratios of several domains.

    Attributes:
        lower: Smallest sum.
        upper: Largest sum; equal to `lower`, it fixes the sum.
        domains: The members; if empty, the domains named `GROUP:...`.

    Raises:
        ArgumentTypeError: A bound is no number, or `domains` is a single string.
    """

    lower: float = 0.0
    upper: float = 1.0
    domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_number("lower of a group", self.lower)
        require_number("upper of a group", self.upper)
        domains: Any = self.domains
        if isinstance(domains, str):
            raise ArgumentTypeError(f"domains of a group is {domains!r}; give ({domains!r},).")
        # names are text: the columns of pd.DataFrame(array) are numbers
        object.__setattr__(self, "domains", tuple(map(str, domains)))


@dataclass(frozen=True)
class Inequality:
    """Σ_j coefficients_j · ratio_j <= limit.

    Attributes:
        coefficients: Coefficient by domain (`d`); 0 for a domain left out.
        limit: Largest value of the sum.

    Raises:
        ArgumentTypeError: `coefficients` has no names, or a value is no number.
    """

    coefficients: Mapping[str, float]
    limit: float

    def __post_init__(self) -> None:
        given: Any = self.coefficients
        if not hasattr(given, "items"):
            raise ArgumentTypeError(
                f"coefficients of an inequality is a {type(given).__name__}; give a number by domain, "
                "such as {'web': 1}."
            )
        # a number that is not finite is reported by the space, with the whole inequality
        for number in (*given.values(), self.limit):
            if not isinstance(number, int | float | np.number):
                raise ArgumentTypeError(
                    f"An inequality has a {type(number).__name__} instead of a number; give numbers."
                )
        # as the names of the space's domains
        named = {str(domain): number for domain, number in given.items()}
        object.__setattr__(self, "coefficients", named)

    def __str__(self) -> str:
        terms = " + ".join(f"{c:g}·{name}" for name, c in self.coefficients.items())
        return f"{terms} <= {self.limit:g}"


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Mixtures within a Hellinger distance of the nearest of some mixtures.

    Attributes:
        mixtures: The mixtures (`n x d`), in the order of the space's domains.
        distance: Largest distance from the nearest of them, from 0 to 1.

    Raises:
        MixtureError: `mixtures` is no table of numbers.
    """

    mixtures: Array
    distance: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "mixtures", np.asarray(self.mixtures, dtype=np.float64))
        if self.mixtures.ndim != 2 or not len(self.mixtures):
            raise MixtureError(
                f"mixtures of a neighborhood have the shape {self.mixtures.shape}; give n x d ratios."
            )

    def contains(self, ratios: Array) -> NDArray[np.bool_]:
        """Return which mixtures (`n x d`) are near enough (`n`)."""
        _, away = nearest(np.maximum(ratios, 0.0), self.mixtures)
        return np.asarray(away <= self.distance + NEAR_TOLERANCE)
