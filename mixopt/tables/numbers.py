"""Cells as numbers: percent, infinite scores, and rows that sum to one."""

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mixopt.errors import MixtureError, TrialsError
from mixopt.io.parsing import show
from mixopt.trial import LARGEST

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

PERCENT = re.compile(r"[-+]?\d+(?:\.\d*)?\s*%")
GROUPED = re.compile(r"[-+]?\d{1,3}(?:_\d{3}){1,}(?:\.\d*)?|[-+]?\d{1,3}(?:,\d{3}){2,}(?:\.\d*)?")
"""Marks between thousands; one comma alone (`1,234`) may be a decimal one."""
ROUNDING_TOLERANCE = 0.01 + 1e-9  # rows with a sum this close to one are rounded (RegMix: to 0.001)
NEARLY_ALL = 0.9  # share of the rows that must sum to 100 to be percent
ROUNDING_OF_ZERO = 1e-9  # a negative ratio smaller than this is zero with an error of arithmetic
COUNTS_FROM = 1.5  # rows with a larger sum are probably counts or percentages


def require_numbers(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Return the frame with all columns as floats; missing cells stay missing.

    Args:
        frame: One row per run (`n x m`), indexed by run id.
        where: Its name in messages.

    Raises:
        TrialsError: A cell is not a number.
    """
    converted = frame.copy()
    for name in frame.columns:
        numbers = as_numbers(frame[name])
        bad = np.flatnonzero(numbers.isna() & frame[name].notna())
        if len(bad):
            raise TrialsError(
                f"{where}, run {frame.index[bad[0]]}, column {show(name)}: "
                f"{show(frame[name].iloc[bad[0]])} is not a number; fix the cell or take the column "
                "out (ignore=, --ignore on the shell)."
            )
        converted[name] = numbers
    return converted


def to_plain_types(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame without categories and without pandas' own types of numbers.

    Args:
        frame: As Parquet, Arrow or a user gives it.
    """
    import pandas as pd

    plain = frame.copy()
    for position, dtype in enumerate(frame.dtypes):
        cells = frame.iloc[:, position]
        if isinstance(dtype, pd.CategoricalDtype):
            plain.isetitem(position, cells.astype(object).to_numpy())
        elif pd.api.types.is_extension_array_dtype(dtype) and dtype.kind in "biuf":
            whole = dtype.kind in "biu" and cells.notna().all()
            numpy_type = (
                {"b": "bool", "i": "int64", "u": "uint64"}[dtype.kind] if whole else "float64"
            )
            plain.isetitem(position, cells.to_numpy(dtype=numpy_type, na_value=np.nan)
                           if not whole else cells.to_numpy(dtype=numpy_type))  # fmt: skip
    return plain


def as_numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """Return the column as floats, percent as shares; NaN for what is no number."""
    import pandas as pd

    if column.dtype.kind in "mM":  # times
        return pd.Series(np.nan, index=column.index)
    if column.dtype.kind == "O" or pd.api.types.is_string_dtype(column):
        # integers too large for int64 stay Python integers
        column = column.map(lambda cell: _tidy(cell) if isinstance(cell, int | str) else cell)
        texts = [cell for cell in column.dropna() if isinstance(cell, str) and cell]
        if texts and all(PERCENT.fullmatch(text) for text in texts):
            column = column.map(
                lambda cell: float(cell[:-1]) / 100 if isinstance(cell, str) and cell else cell
            )
    return pd.to_numeric(column, errors="coerce").astype("float64")


def _tidy(cell: int | str) -> str:
    """Return a number as pandas reads it: without marks between thousands, with an ASCII minus."""
    text = str(cell).strip().replace("\u2212", "-")
    return re.sub("[_,]", "", text) if GROUPED.fullmatch(text) else text


def drop_infinite(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Return the frame with infinite cells (of diverged runs) as missing, and log them.

    Args:
        frame: Numbers, one row per run (`n x m`).
        where: Name of the table, for the log.
    """
    infinite = np.abs(frame.to_numpy(dtype=np.float64)) > LARGEST
    if infinite.any():
        row, column = (int(axis[0]) for axis in np.nonzero(infinite))
        log.warning("%s: %d infinite cells (run %s, column %r, ...) are taken as missing.",
                    where, int(infinite.sum()), frame.index[row], frame.columns[column])  # fmt: skip
    return frame.mask(infinite)


def fill_unused(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Return ratios with zeros where they are missing in rows whose others sum to one, or 100.

    Tables with a row for each domain of a run, and JSON, may leave out domains that a run did not use.

    Args:
        frame: One row per run (`n x d`).
        where: Name of the table, for the log.
    """
    sums = frame.sum(axis=1)
    is_whole = ((sums - 1).abs() <= ROUNDING_TOLERANCE) | (
        (sums / 100 - 1).abs() <= ROUNDING_TOLERANCE
    )
    unused = frame.isna().mul(is_whole, axis=0)
    if unused.to_numpy().any():
        log.info("%s: %d ratios that are missing are zero, as the others of their runs sum to 1.",
                 where, int(unused.to_numpy().sum()))  # fmt: skip
    return frame.mask(unused, 0.0)


def normalize_rows(
    rows: np.ndarray, ids: Sequence[object], where: str, *, counts: bool = False
) -> np.ndarray:
    """Return rows (`n x d`) divided by their sums.

    Args:
        rows: Ratios that sum to one, or percent that sum to 100, within `ROUNDING_TOLERANCE`; or counts
            (`n x d`).
        ids: Run ids (`n`), for messages.
        where: Name of the table, for messages.
        counts: Accept rows of any positive sum.

    Raises:
        MixtureError: A ratio is missing, infinite or negative, or a row has the wrong sum.
    """
    rows = np.where((rows < 0) & (rows > -ROUNDING_OF_ZERO), 0.0, rows)
    sums = rows.sum(axis=1)
    if (
        not counts
        and len(rows)
        and np.mean(np.abs(sums / 100 - 1) <= ROUNDING_TOLERANCE) >= NEARLY_ALL
    ):
        log.info("%s: ratios sum to 100 and are read as percent.", where)
        rows, sums = rows / 100, sums / 100
    for identifier, row, total in zip(ids, rows, sums, strict=True):
        if not np.isfinite(row).all() or (row < 0).any():
            raise MixtureError(
                f"{where}, run {identifier}: a ratio is missing, infinite or negative; fix the row "
                "(0 is a domain that it does not use)."
            )
        if counts and total <= 0:
            raise MixtureError(f"{where}, run {identifier}: all its counts are zero; fix the row.")
        if not counts and abs(total - 1) > ROUNDING_TOLERANCE:
            remedy = "fix the row."
            if total > COUNTS_FROM:
                remedy = "for counts or percentages pass counts=True (--counts on the shell)."
            elif _are_rounded(row, total):
                remedy = "for ratios that are rounded pass counts=True (--counts on the shell)."
            raise MixtureError(
                f"{where}, run {identifier}: the ratios sum to {total:.4g}, not to 1; {remedy}"
            )
    rounded = int((np.abs(sums - 1) > 1e-9).sum())
    if rounded and not counts:
        log.info("%s: %d of %d rows summed to 1 only within rounding and were normalized.",
                 where, rounded, len(rows))  # fmt: skip
    return cast(np.ndarray, rows / sums[:, None])


def _are_rounded(row: np.ndarray, total: float) -> bool:
    """Return whether rounding to two decimals explains the sum of many ratios."""
    return bool(
        np.allclose(row, np.round(row, 2), atol=1e-9) and abs(total - 1) <= 0.005 * len(row)
    )
