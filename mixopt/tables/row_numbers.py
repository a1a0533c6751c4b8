"""Columns without a name: row numbers and spacers that spreadsheets and pandas write."""

import logging
import re
from typing import TYPE_CHECKING, Any

from mixopt.tables.numbers import as_numbers

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

ROW_NUMBER = "Unnamed: 0"
"""pandas' name for the row numbers that `to_csv` writes; they are positions, not run ids."""
UNNAMED = re.compile(r"Unnamed: \d+(?:\.\d+)?")
"""pandas' name for a column without one."""


def names_rows(frame: "pd.DataFrame") -> bool:
    """Return whether the first column, without a name, has the ids that pandas had as its index.

    Args:
        frame: One row per run.
    """
    return ROW_NUMBER in frame.columns and bool(as_numbers(frame[ROW_NUMBER]).isna().all())


def drop_unnamed(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Drop columns without a name that are empty or number the rows, and log them.

    Spreadsheets write empty columns between others, and `to_csv` of a table that has row numbers
    already writes them twice. Row numbers in the first column are left for `read_table`.

    Args:
        frame: One row per run (`n` rows).
        where: Name of the table.
    """
    unnamed = [c for c in map(str, frame.columns) if UNNAMED.fullmatch(c)]
    dropped = [
        c for c in unnamed
        if _is_blank(frame[c]) or (c != ROW_NUMBER and _numbers_rows(frame[c], c))
    ]  # fmt: skip
    if dropped:
        log.info("%s: %d columns without a name that are empty or number the rows are left out.",
                 where, len(dropped))  # fmt: skip
    return frame.drop(columns=dropped)


def _is_blank(cells: "pd.Series[Any]") -> bool:
    return bool((cells.isna() | (cells.astype(str).str.strip() == "")).all())


def _numbers_rows(cells: "pd.Series[Any]", column: str) -> bool:
    """Return whether cells number the rows, perhaps those of a table that was sorted or cut."""
    numbers = as_numbers(cells)
    if numbers.isna().any() or numbers.duplicated().any() or (numbers % 1 != 0).any():
        return False
    is_first = column.startswith(f"{ROW_NUMBER}.")
    return is_first or set(numbers) == set(range(len(numbers)))
