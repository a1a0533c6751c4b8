"""Rounding: ratios in few digits that still sum to exactly one."""

from collections.abc import Mapping

import numpy as np

DECIMALS = 9
"""Digits of a written ratio; the last of them is apportioned so that the sum is exactly one."""


def round_ratios(ratios: Mapping[str, float], decimals: int = DECIMALS) -> dict[str, float]:
    """Ratios rounded to `decimals` digits that sum to exactly one (largest remainder)."""
    unit = 10**decimals
    return {name: count / unit for name, count in apportion(ratios, unit).items()}


def apportion(ratios: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers in the ratios' proportions that sum to `total` (largest remainder)."""
    names = list(ratios)
    exact = np.array([ratios[name] for name in names]) * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    rest = total - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def largest_drift(ratios: Mapping[str, float], written: Mapping[str, float]) -> float:
    """How far rounding moved the ratio that it moved most."""
    return max(abs(ratios[name] - written[name]) for name in ratios)


def format_ratio(ratio: float, decimals: int = DECIMALS) -> str:
    """A ratio in plain decimals, as any trainer's parser reads it."""
    return f"{ratio:.{decimals}f}".rstrip("0").rstrip(".")
