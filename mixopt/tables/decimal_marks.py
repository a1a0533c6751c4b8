"""Decimal commas, and points or commas between thousands, in the cells of CSV files.

`1,234` and `1.234` are 1234 in one country and 1.234 in another; other cells of the file tell which.
"""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from mixopt.errors import TrialsError
from mixopt.io.parsing import show

if TYPE_CHECKING:
    import pandas as pd

DECIMAL_COMMA = re.compile(r"\s*[-+]?(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+)(?:,\d+)?(?:[eE][-+]?\d+)?\s*")
"""A number with a decimal comma, and perhaps points between thousands (`1.234,5`)."""
COMMAS = re.compile(r"\s*[-+]?(?:0|[1-9]\d{0,2}(?:,\d{3})*)\s*")
"""What may be thousands (`1,234`) as well as a decimal comma."""
POINTS = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+")
"""What may be thousands (`1.234`) as well as a decimal point."""
POINT = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?")
INTEGER = re.compile(r"[-+]?\d+")


def has_commas(cells: "pd.Series[Any]") -> bool:
    """Return whether any cell of a column is text with a comma.

    Args:
        cells: Of a column.
    """
    is_number = cells.dtype.kind in "biufc"
    return not is_number and any(isinstance(cell, str) and "," in cell for cell in cells)


def convert_decimal_commas(
    frame: "pd.DataFrame",
    texts: "pd.DataFrame | None" = None,
    *,
    surely: bool,
    where: str = "The table",
    ids: Collection[str] = (),
) -> "pd.DataFrame":
    """Return the frame with numbers where all cells of a column have decimal commas (`0,25`).

    Where they have, points are between thousands (`1.234` is 1234), unless other cells have decimal
    points.

    Args:
        frame: A table of a CSV file.
        texts: Its cells as they are in the file, if numbers may have points between thousands.
        surely: Whether `1,234` is 1.234, as in files with semicolons between cells; otherwise such a
            column stays as it is unless another cell tells.
        where: Name of the table, for messages.
        ids: Columns that name runs, which stay.

    Raises:
        TrialsError: Nothing tells what the points in a column are.
    """
    raw = frame if texts is None else texts
    cells = {c: _texts(raw[c]) for c in map(str, frame.columns) if c not in ids}
    by_comma = any(map(_has_decimal_commas, cells.values()))
    by_point = any(map(_has_decimal_points, cells.values()))
    surely = surely or (by_comma and not by_point)
    converted = frame.copy()
    for column, found in cells.items():
        if not any("," in cell for cell in found) or not all(map(DECIMAL_COMMA.fullmatch, found)):
            continue
        if surely or _has_decimal_commas(found):
            by_comma = True
            # percent stay texts, which are read as shares later
            converted[column] = [
                _to_point(cell) if isinstance(cell, str) else float("nan") for cell in frame[column]
            ]
    if texts is None or not surely:
        return converted
    for column, found in cells.items():
        if _are_thousands(found, column, where, by_comma=by_comma, by_point=by_point):
            converted[column] = [
                float(cell.replace(".", "")) if isinstance(cell, str) else float("nan")
                for cell in texts[column]
            ]
    return converted


def _texts(cells: "pd.Series[Any]") -> list[str]:
    """Return the cells without spaces and signs of percent; none where one is no text."""
    import pandas as pd

    known = [cell for cell in cells if not pd.isna(cell)]
    if not all(isinstance(cell, str) for cell in known):
        return []
    return [cell.strip().removesuffix("%").rstrip(" \u00a0") for cell in known]


def _has_decimal_commas(cells: list[str]) -> bool:
    """Return whether the cells are numbers with commas that are not between thousands."""
    return (
        any("," in cell for cell in cells)
        and all(map(DECIMAL_COMMA.fullmatch, cells))
        and not all(map(COMMAS.fullmatch, cells))
    )


def _has_decimal_points(cells: list[str]) -> bool:
    """Return whether the cells are numbers with points that are not between thousands."""
    numbers = all(POINT.fullmatch(cell) or INTEGER.fullmatch(cell) for cell in cells)
    return numbers and any(POINT.fullmatch(c) and not POINTS.fullmatch(c) for c in cells)


def _are_thousands(
    cells: list[str], column: str, where: str, *, by_comma: bool, by_point: bool
) -> bool:
    """Return whether the points in a column are between thousands.

    Args:
        cells: Of the column, as texts.
        column: Its name.
        where: Name of the table.
        by_comma: Whether other columns have decimal commas.
        by_point: Whether they have decimal points.

    Raises:
        TrialsError: Nothing tells.
    """
    pointed = [cell for cell in cells if POINTS.fullmatch(cell)]
    whole = [cell.lstrip("+-") for cell in cells if INTEGER.fullmatch(cell)]
    if not pointed or len(pointed) + len(whole) < len(cells):
        return False
    if any(cell.count(".") > 1 for cell in pointed):
        return True
    if any(len(cell) > 3 for cell in whole) or (by_point and not by_comma):
        return False  # 1234 has no point
    if by_comma and not by_point:
        return True
    if not by_point and any(len(cell) == 3 for cell in whole):
        return True
    if not whole and not by_comma and all(len(cell.lstrip("+-")) == 5 for cell in pointed):
        return False  # 2.481 in all rows: either way the same numbers, but for their unit
    raise TrialsError(
        f"{where}, column {show(column)}: {show(pointed[0])} may be {pointed[0].replace('.', '')} or "
        "have a decimal point, and no other cell tells; write the numbers without points between "
        "thousands, or with commas between cells."
    )


def _to_point(cell: str) -> float | str:
    plain = cell.replace(".", "").replace(",", ".")
    return plain if plain.strip().endswith("%") else float(plain)
