"""Tell ratio columns from others by their values: in [0, 1], with sum 1 in nearly all runs."""

import logging
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mixopt.mixture import Array
from mixopt.tables.numbers import as_numbers
from mixopt.tables.ratio_search import TOLERANCE, search_ratios, sum_to_one

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SCALES = (1.0, 100.0)
"""Sums of the ratios of a run: shares, or percent."""
TOTAL = re.compile(r"(?:^|[/._: ])(?:total|sum|all|overall)(?:$|[/._: ])", re.IGNORECASE)
"""Name of a column that is the sum of the others."""


def are_ratios(frame: "pd.DataFrame") -> bool:
    """Return whether the columns are ratios of one mixture in nearly all rows, as shares or percent.

    Args:
        frame: One row per run (`n x d`); rows without any number do not count.
    """
    values = to_matrix(frame)
    return any(sum_to_one(values / scale) for scale in SCALES)


def find_total(frame: "pd.DataFrame") -> str | None:
    """Return the column that is the sum of all others in every row, if any.

    Args:
        frame: Ratios or counts, one row per run (`n x d`).

    Returns:
        The column, if the others are ratios without it or if its name says so (`total`).
    """
    values = np.nan_to_num(to_matrix(frame))
    if values.shape[1] < 3 or not len(values):
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # of scores that are infinite
        near = values.sum(axis=1, keepdims=True) - values
        # with twice the tolerance, as a difference of sums is not exact
        may_be = np.abs(values - near) <= 2 * TOLERANCE * np.maximum(1.0, np.abs(near) * 0.01)
    for index in map(int, np.flatnonzero(may_be.all(axis=0))):
        column = str(frame.columns[index])
        others = np.delete(values, index, axis=1).sum(axis=1)
        same = np.abs(values[:, index] - others) <= TOLERANCE * np.maximum(
            1.0, np.abs(others) * 0.01
        )
        if not same.all() or not (others > 0).all():
            continue
        if TOTAL.search(column) or any(np.abs(others / x - 1).max() <= TOLERANCE for x in SCALES):
            return column
    return None


def select_ratios(
    frame: "pd.DataFrame", doubtful: Sequence[Collection[str]], where: str
) -> list[str] | None:
    """Return the columns that are ratios of one mixture.

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
            return kept
    return None


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
