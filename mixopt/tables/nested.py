"""Rows whose cells hold mappings: JSON, APIs of trackers, and parameters written as text."""

import ast
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.io.parsing import load_json
from mixopt.tables.columns import RATIO_PREFIXES, split_prefix

if TYPE_CHECKING:
    import pandas as pd

LONGEST_CELL = 100_000
"""Characters of a cell that is parsed."""
TRACKERS = ("config", "summary", "params", "metrics")
"""Fields of trackers, whose names are joined by a dot, as in their tables."""
LISTS = ("runs", "trials", "data", "rows", "results", "records", "experiments")
"""Fields that hold the rows of a file with other fields."""
NUMPY_NUMBER = re.compile(r"np\.(?:float|int|uint)\d+\(([^()]*)\)")
"""A number as numpy 2 shows it."""
ORDERED = re.compile(r"OrderedDict\((.*)\)", re.DOTALL)
DEEPEST = 4
"""Levels of mappings that are opened."""


def flatten_cells(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame with a column for each entry of cells that are mappings (`ratios/web`).

    Args:
        frame: One row per run. Cells may be mappings, or text of one (JSON, or Python's).
    """
    import pandas as pd

    for _ in range(DEEPEST):
        parts: list[pd.DataFrame] = []
        changed = False
        for column in frame.columns:
            cells = frame[column]
            parsed = [_parse(cell) for cell in cells] if cells.dtype.kind not in "biufM" else []
            if not any(isinstance(cell, Mapping) for cell in parsed):
                parts.append(frame[[column]])
                continue
            changed = True
            mark = "." if column in TRACKERS else "/"
            rows = [cell if isinstance(cell, Mapping) else {} for cell in parsed]
            named = [{f"{column}{mark}{key}": value for key, value in row.items()} for row in rows]
            parts.append(pd.DataFrame(named, index=frame.index))
        if not changed:
            break
        frame = pd.concat(parts, axis="columns")
    lists = [column for column in frame.columns if frame[column].map(_is_list).any()]
    return frame.assign(**{str(c): frame[c].map(str) for c in lists})  # which cannot be compared


def _is_list(cell: Any) -> bool:
    return isinstance(cell, list | dict | set | np.ndarray)


def _parse(cell: Any) -> Any:
    if isinstance(cell, list) and cell and all(_is_pair(part) for part in cell):  # an Arrow map
        return dict(cell)
    if not isinstance(cell, str) or len(cell) > LONGEST_CELL:
        return cell
    text = cell.strip()
    ordered = ORDERED.fullmatch(text)
    if not text.startswith("{") and ordered is None:
        return cell
    try:
        return load_json(text)
    except ValueError:
        pass
    try:  # of Python's `str`, with single quotes
        found = ast.literal_eval(NUMPY_NUMBER.sub(r"\1", ordered[1] if ordered else text))
        return dict(found) if ordered else found
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return cell


def _is_pair(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], str)


def _is_mixture(row: Mapping[str, Any]) -> bool:
    """Return whether a row holds ratios of domains, or percent, and nothing else."""
    if len(row) < 2 or any(
        isinstance(cell, bool) or not isinstance(cell, int | float) for cell in row.values()
    ):
        return False
    # by run (`{"web": {"0": .5, ...}}`) a column of ratios may sum to one too
    by_name = not all(str(name).isdigit() for name in row)
    return by_name and any(abs(sum(row.values()) / whole - 1) <= 0.01 + 1e-9 for whole in (1, 100))


def find_rows(content: Any) -> list[Any] | None:
    """Return the rows in a parsed JSON file that is no list.

    Args:
        content: An object that holds the rows in a list (`{"runs": [...]}`), or a row by its name
            (`{"run-1": {"ratios": {...}, ...}, ...}`).

    Returns:
        The rows, named by `run` in the second case; None where the object is a table by columns.
    """
    if not isinstance(content, Mapping) or not content:
        return None
    for name in LISTS:
        inner = content.get(name)
        if isinstance(inner, list) and inner and all(isinstance(row, Mapping) for row in inner):
            return inner
    values = list(content.values())
    if not all(isinstance(value, Mapping) for value in values):
        return None
    nested = all(any(isinstance(inner, Mapping) for inner in value.values()) for value in values)
    named = all(split_prefix(str(key), RATIO_PREFIXES) for key in list(values[0])[:1])
    if not values[0] or not (nested or named or all(map(_is_mixture, values))):
        return None
    return [{"run": name, **row} for name, row in content.items()]
