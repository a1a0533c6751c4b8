"""Tell ratio columns from others by their values: in [0, 1], with sum 1 in nearly all runs."""

import logging
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

TOLERANCE = 0.01
"""How far the sum of rounded ratios may be from one."""
NEARLY_ALL = 0.9
"""Share of runs whose ratios must sum to one; a wrong row among them is reported later."""
TOTAL = re.compile(r"(?:^|[/._: ])(?:total|sum|all|overall)(?:$|[/._: ])", re.IGNORECASE)
"""Name of a column that is the sum of the others."""


def are_ratios(frame: "pd.DataFrame") -> bool:
    """Return whether the columns are ratios of one mixture in nearly all rows.

    Args:
        frame: One row per run (`n x d`); rows without any number do not count.
    """
    values = _to_numbers(frame)
    values = values[~np.isnan(values).all(axis=1)]
    if not len(values):
        return False
    values = np.nan_to_num(values)
    inside = ((values >= -TOLERANCE) & (values <= 1 + TOLERANCE)).all(axis=1)
    fits = inside & (np.abs(values.sum(axis=1) - 1) <= TOLERANCE)
    return bool(fits.mean() >= NEARLY_ALL)


def find_total(frame: "pd.DataFrame") -> str | None:
    """Return the column that is the sum of all others in every row, if any.

    Args:
        frame: Ratios or counts, one row per run (`n x d`).

    Returns:
        The column, if the others are ratios without it or if its name says so (`total`).
    """
    values = np.nan_to_num(_to_numbers(frame))
    if values.shape[1] < 3 or not len(values):
        return None
    for index, column in enumerate(map(str, frame.columns)):
        others = np.delete(values, index, axis=1).sum(axis=1)
        same = np.abs(values[:, index] - others) <= TOLERANCE * np.maximum(
            1.0, np.abs(others) * 0.01
        )
        if not same.all() or not (others > 0).all():
            continue
        if TOTAL.search(column) or np.abs(others - 1).max() <= TOLERANCE:
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


def _to_numbers(frame: "pd.DataFrame") -> np.ndarray:
    import pandas as pd

    columns = [
        pd.to_numeric(frame[c], errors="coerce").to_numpy(dtype=float) for c in frame.columns
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((len(frame), 0))
