"""Find the column that names the runs of a table, and tell it from a column of numbers."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.io.field_names import ID_COLUMNS, is_id, plain_name
from mixopt.tables.numbers import as_numbers

if TYPE_CHECKING:
    import pandas as pd


def find_ids(columns: Sequence[str]) -> list[str]:
    """Return the columns that are called as ids are, the best first.

    Args:
        columns: Of a table.
    """
    plain = [plain_name(name) for name in ID_COLUMNS]
    ranks = {}
    for c in columns:
        if is_id(c):
            exact = c in ID_COLUMNS
            ranks[c] = (ID_COLUMNS.index(c) if exact else plain.index(plain_name(c)), not exact)
    return sorted(ranks, key=lambda column: ranks[column])


def find_id_column(frame: "pd.DataFrame", ignore: Collection[str] = ()) -> str | None:
    """Return the column that names the runs, by its name.

    Args:
        frame: One row per run. A `model` that several rows have names them only if nothing else does.
        ignore: Columns that are left out, and domains.
    """
    found = find_ids([c for c in map(str, frame.columns) if c not in ignore])
    for column in found:
        if plain_name(column) != "model" or frame[column].is_unique:
            return column
    return found[0] if found else None


def further_ids(
    frame: "pd.DataFrame", ignore: Collection[str], *, may_count: bool
) -> tuple[list[str], list[str]]:
    """Return the columns that are called as ids are and may be, and those that are ratios or counts.

    A domain may be called so (`id` is Indonesian).

    Args:
        frame: One row per run, without the column that names them (`n` rows).
        ignore: Columns that are neither.
        may_count: Whether they may be counts: fractions, and whole numbers that repeat.
    """
    called = [c for c in map(str, frame.columns) if is_id(c) and c not in ignore]
    amounts = [c for c in called if _are_amounts(frame[c], may_count=may_count)]
    return [c for c in called if c not in amounts], amounts


def _are_amounts(cells: "pd.Series[Any]", *, may_count: bool) -> bool:
    values = as_numbers(cells).to_numpy(dtype=float)
    if not len(values) or not np.isfinite(values).all() or (values < 0).any():
        return False
    if (values % 1 != 0).any():  # shares, but not ids such as 1.1 and 1.2
        return may_count or float(values.max()) <= 1
    different = np.unique(values)
    # tables that were joined one below the other repeat the numbers of their rows
    numbered = len(different) == np.ptp(different) + 1
    return may_count and len(different) < len(values) and not numbered
