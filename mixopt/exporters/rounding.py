"""Round ratios to few decimals so that they still sum to exactly one.

See docs/methods.md, section 10.2.
"""

from collections.abc import Mapping

from mixopt.mixture import apportion

DECIMALS = 9
"""Decimals of a written ratio."""


def round_ratios(ratios: Mapping[str, float], decimals: int = DECIMALS) -> dict[str, float]:
    """Return ratios that sum to exactly one (largest remainder).

    Args:
        ratios: Of `d` domains, which sum to one.
        decimals: Of the returned ratios.
    """
    unit = 10**decimals
    return {name: count / unit for name, count in apportion_counts(ratios, unit).items()}


def apportion_counts(ratios: Mapping[str, float], total: int) -> dict[str, int]:
    """Return integers in given proportions (largest remainder).

    Args:
        ratios: Proportions of `d` domains.
        total: Sum of the integers.
    """
    quotas = [ratio * total for ratio in ratios.values()]
    # 1e-9: a quota that is a whole number but for float error keeps that number
    counts = apportion(quotas, total, tolerance=1e-9).tolist()
    return dict(zip(ratios, counts, strict=True))


def format_ratio(ratio: float, decimals: int = DECIMALS) -> str:
    """Return a ratio in plain decimal notation, which every trainer's parser accepts.

    Args:
        ratio: From 0 to 1.
        decimals: Written at most; trailing zeros are left out.
    """
    return f"{ratio:.{decimals}f}".rstrip("0").rstrip(".")
