"""A number with its uncertainty."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from mixopt.io.parsing import show

Z95 = 1.959963984540054
"""Two-sided 95% quantile of the standard normal distribution."""

Z80 = 1.2815515655446004
"""Two-sided 80% quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
        mean: The number.
        std_error: Its standard error, calibrated so that the normal 95% interval covers.
        half80: Half of the 80% interval, in standard errors; the tails need not be normal.
    """

    mean: float
    std_error: float
    half80: float = Z80

    @property
    def interval80(self) -> tuple[float, float]:
        """The two-sided 80% interval."""
        half = self.half80 * self.std_error
        return self.mean - half, self.mean + half

    @property
    def chance(self) -> float:
        """Probability that the number is above zero, with a normal error."""
        if not self.std_error > 0:
            sure = (float(self.mean > 0) + float(self.mean >= 0)) / 2
            return math.nan if math.isnan(self.mean) else sure
        return 0.5 * (1 + math.erf(self.mean / self.std_error / math.sqrt(2)))

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided 95% interval."""
        half = Z95 * self.std_error
        return self.mean - half, self.mean + half

    @property
    def distinguishable(self) -> bool:
        """Whether the 95% interval excludes zero."""
        low, high = self.interval
        return low > 0 or high < 0

    @classmethod
    def from_dict(cls, plain: Mapping[str, float | None]) -> "Estimate":
        """Return the estimate whose attributes a mapping has; null stands for NaN.

        Args:
            plain: As `dataclasses.asdict` returns it; attributes of a newer version are left out.

        Raises:
            ValueError: A value is not a number.
        """
        kind = DrawnEstimate if "above" in plain else cls
        known = {each.name for each in fields(kind)}
        plain = {key: value for key, value in plain.items() if key in known}
        for key, value in plain.items():
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float)
            ):
                raise ValueError(f"its {key} is {show(value)}")
        return kind(**{key: math.nan if value is None else value for key, value in plain.items()})


@dataclass(frozen=True)
class DrawnEstimate(Estimate):
    """A number known from draws that are not normal, such as the least of several gains.

    Attributes:
        above: Share of the draws above zero.
        low: Their 2.5% quantile.
        high: Their 97.5% quantile.
    """

    above: float = field(kw_only=True)
    low: float = field(kw_only=True)
    high: float = field(kw_only=True)

    @property
    def chance(self) -> float:
        """Probability that the number is above zero."""
        return self.above

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided 95% interval."""
        return self.low, self.high


def format_chance(chance: float) -> str:
    """Return a probability in whole percent; what would round to 0% or 100% is `< 1%` or `> 99%`.

    Args:
        chance: From 0 to 1; NaN is `unknown`.
    """
    if math.isnan(chance):
        return "unknown"
    rounded = f"{chance:.0%}"
    return {"0%": "< 1%", "100%": "> 99%"}.get(rounded, rounded)


def read_estimates(plain: Mapping[str, Mapping[str, float | None]]) -> dict[str, Estimate]:
    """Return estimates by name.

    Args:
        plain: Attributes of each by name.

    Raises:
        ValueError: A value is not a number.
    """
    return {name: Estimate.from_dict(row) for name, row in plain.items()}
