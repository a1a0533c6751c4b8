"""Tell ratio columns from others by their values: in [0, 1], with sum 1 in nearly all runs."""

import logging
import re
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from mixopt.mixture import Array
from mixopt.tables.numbers import as_numbers
from mixopt.tables.ratio_search import FEWEST_RUNS, TOLERANCE, search_ratios, sum_to_one

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SCALES = (1.0, 100.0)
"""Sums of the ratios of a run: shares, or percent."""
TOTAL = re.compile(r"(?:^|[/._: ])(?:total|sum|all|overall)(?:$|[/._: ])", re.IGNORECASE)
"""Name of a column that is the sum of the others."""
EXACT = 1e-9
"""Relative error of a sum of counts."""
MOST_DECIMALS = 5
"""Decimals up to which numbers may be rounded."""
MOST_FIXED = 8
"""Columns that are the same in all runs, all of whose sets are tried."""


def are_ratios(frame: "pd.DataFrame") -> bool:
    """Return whether the columns are ratios of one mixture in nearly all rows, as shares or percent.

    Args:
        frame: One row per run (`n x d`); rows without any number do not count.
    """
    values = to_matrix(frame)
    return any(sum_to_one(values / scale) for scale in SCALES)


def find_total(frame: "pd.DataFrame", *, counts: bool = False) -> str | None:
    """Return the column that is the sum of all others in every row, if any.

    Args:
        frame: Ratios or counts, one row per run (`n x d`).
        counts: Whether they are counts; any column that is exactly the sum of the others is one then,
            as no domain has half of the tokens in every run.

    Returns:
        The column, if the others are ratios without it or if its name says so (`total`).
    """
    values = np.nan_to_num(to_matrix(frame))
    if values.shape[1] < 3 or not len(values):
        return None
    near = TOLERANCE
    with np.errstate(over="ignore", invalid="ignore"):  # of scores that are infinite
        rest = values.sum(axis=1, keepdims=True) - values
        apart = np.abs(values - rest)
        # with twice the tolerance, as a difference of sums is not exact
        rounding = _rounding(values)
        may_be = apart <= 2 * np.maximum(near * np.maximum(1.0, np.abs(rest) * 0.01), rounding)
    for index in map(int, np.flatnonzero(may_be.all(axis=0))):
        column = str(frame.columns[index])
        others = np.delete(values, index, axis=1).sum(axis=1)
        apart_here = np.abs(values[:, index] - others)
        exact = near * np.maximum(1.0, np.abs(others) * 0.01)
        if not (others > 0).all() or not (apart_here <= np.maximum(exact, rounding)).all():
            continue
        if TOTAL.search(column) or any(np.abs(others / x - 1).max() <= near for x in SCALES):
            return column
        if counts and (apart_here <= EXACT * others).all():
            return column
    return None


def _rounding(values: Array) -> float:
    """Return how far a sum of rounded numbers may be from the rounded sum, by their decimals.

    Args:
        values: `n x d`; whole numbers are exact, except percent.
    """
    finite = values[np.isfinite(values) & (np.abs(values) < 1e6)]
    for decimals in range(MOST_DECIMALS):
        if np.abs(finite - np.round(finite, decimals)).max(initial=0.0) < 1e-9:
            is_exact = not decimals and finite.max(initial=0.0) > SCALES[-1]
            return 0.0 if is_exact else 0.5 * float(10.0**-decimals) * values.shape[1]
    return 0.0


def select_ratios(
    frame: "pd.DataFrame",
    doubtful: Sequence[Collection[str]],
    where: str,
) -> list[str] | None:
    """Return the columns that are ratios of one mixture.

    A column that is the same in all runs (`weight_decay`) is left out where the sums are nearer to 1
    without it.

    Args:
        frame: Candidates, one row per run (`n x d`).
        doubtful: Sets of columns to leave out if all columns together are no ratios, tried in order.
        where: Name of the table, for the log.

    Returns:
        The columns in their order, or None if no set of at least two is ratios.
    """
    columns = list(map(str, frame.columns))
    for left_out in ((), *doubtful):
        kept = [column for column in columns if column not in left_out]
        total = find_total(frame[kept])
        kept = [column for column in kept if column != total]
        if len(kept) > 1 and are_ratios(frame[kept]):
            if total is not None:
                log.info("%s: %r is the sum of the other ratios and is left out.", where, total)
            return _without_settings(frame[kept], where)
    return None


def _without_settings(frame: "pd.DataFrame", where: str) -> list[str]:
    """Return the columns of ratios without those that are the same in all runs and spoil the sum.

    Args:
        frame: Ratios of one mixture in nearly all rows (`n x d`).
        where: Name of the table, for the log.
    """
    columns, values = list(map(str, frame.columns)), np.nan_to_num(to_matrix(frame))
    scale = min(SCALES, key=lambda scale: abs(float(np.median(values.sum(axis=1))) / scale - 1))
    values = values / scale
    fixed = [int(i) for i in np.flatnonzero(np.ptp(values, axis=0) < 1e-12) if values[0, i] > 0]
    if not fixed or len(values) < FEWEST_RUNS or len(fixed) > MOST_FIXED:
        return columns
    sums = values.sum(axis=1)

    def apart(left_out: tuple[int, ...]) -> float:
        misses = np.abs(sums - values[0, list(left_out)].sum() - 1)
        return float(np.mean(np.minimum(misses, 2 * TOLERANCE)))  # a wrong row decides nothing

    subsets = [s for size in range(len(fixed) + 1) for s in combinations(fixed, size)]
    best = min(subsets, key=apart)
    equal = [s for s in subsets if apart(s) <= apart(best) + 1e-9]
    if len(equal) > 1 or apart(best) > 0.5 * apart(()) - 1e-9 or len(columns) - len(best) < 2:
        return columns
    names = [columns[i] for i in best]
    log.info("%s: %s is the same in all runs, whose ratios sum to 1 without it, and is left out; "
             "domains= (--domains on the shell) names it if it is a domain.",
             where, ", ".join(names))  # fmt: skip
    return [column for column in columns if column not in names]


def search_columns(frame: "pd.DataFrame", where: str) -> list[str] | None:
    """Return the columns that are ratios of one mixture, whatever they are called.

    Args:
        frame: Candidates of numbers, one row per run (`n x k`).
        where: Name of the table, for the log.

    Returns:
        The columns, or None where no set of them or several are.
    """
    values = to_matrix(frame)
    for scale in SCALES:
        found = search_ratios(values / scale)
        if found is not None:
            columns = [str(frame.columns[index]) for index in found]
            log.info("%s: %s sum to %g in the runs and are taken for the ratios; domains= (--domains on "
                     "the shell) names others.", where, ", ".join(columns), scale)  # fmt: skip
            return columns
    return None


def to_matrix(frame: "pd.DataFrame") -> Array:
    """Return the cells as numbers (`n x k`), NaN for what is none.

    Args:
        frame: One row per run.
    """
    columns = [as_numbers(frame[c]).to_numpy(dtype=float) for c in frame.columns]
    return np.stack(columns, axis=1) if columns else np.zeros((len(frame), 0))
