"""Load a table (CSV, TSV, Parquet, JSON, JSON lines or data frame), indexed by run id."""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.errors import TrialsError, one_line
from mixopt.io.parsing import load_json, show
from mixopt.tables.columns import ID_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LARGEST = 1e100
"""A larger score is taken as infinite: the run diverged, and its square would overflow."""
ROW_NUMBER = "Unnamed: 0"
"""pandas' name for the row numbers that `to_csv` writes; they are positions, not run ids."""


def read_table(
    table: "str | os.PathLike[str] | pd.DataFrame", what: str
) -> tuple["pd.DataFrame", str]:
    """Load a table and index it by its id column.

    Args:
        table: A file or a data frame.
        what: Its content (`ratios`), for messages.

    Returns:
        The table, and its name for messages.

    Raises:
        TrialsError: It cannot be read, a column name repeats, or a run has no id.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        frame, where = table.copy(), f"The {what} table"
    elif isinstance(table, str | os.PathLike):
        frame, where = _read_file(Path(table), what), str(table)
    else:
        raise TrialsError(f"{what} is {show(table)}; give a file or a pandas DataFrame.")
    _require_unique_columns(list(map(str, frame.columns)), where)
    if frame.index.name in ID_COLUMNS and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    column = next((name for name in ID_COLUMNS if name in frame.columns), None)
    if column is None:
        raise TrialsError(
            f"{where} has no column that names its runs; add one of {', '.join(ID_COLUMNS)}."
        )
    if ROW_NUMBER in frame.columns:
        log.info("%s: the row numbers in its first column are left out; runs are named by %r.",
                 where, column)  # fmt: skip
        frame = frame.drop(columns=ROW_NUMBER)
    if frame[column].isna().any():
        raise TrialsError(f"{where}: a cell of its id column {column!r} is empty; name every run.")
    others = [name for name in ID_COLUMNS if name in frame.columns and name != column]
    if others:
        log.info("%s: runs are named by %r; %s is left out.", where, column, ", ".join(others))
    frame = frame.set_index(frame[column].astype(str).rename(column))
    frame = frame.drop(columns=[column, *others])
    if frame.empty or not len(frame.columns):
        missing = "rows" if frame.empty else "columns"
        raise TrialsError(f"{where} has no {missing}; give one row per run.")
    return frame, where


def _read_file(path: Path, what: str) -> "pd.DataFrame":
    import pandas as pd

    if not path.is_file():
        raise TrialsError(f"{path} does not exist; give the table with the {what}.")
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".parquet": pd.read_parquet,
        ".jsonl": _read_jsonl,
        ".json": _read_json,
    }
    kind = path.suffix if path.suffix in readers else ".csv"
    try:
        return readers.get(kind, _read_csv)(path)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        # the errors of pandas and pyarrow are ValueErrors and OSErrors
        raise TrialsError(
            f"{path} cannot be read as {kind[1:].upper()} ({one_line(error)}); fix the file."
        ) from None


def _read_jsonl(path: Path) -> "pd.DataFrame":
    lines = path.read_text(encoding="utf-8").splitlines()
    return _from_rows([load_json(line) for line in lines if line.strip()])


def _read_json(path: Path) -> "pd.DataFrame":
    import pandas as pd

    content = load_json(path.read_text(encoding="utf-8"))
    if isinstance(content, list):
        return _from_rows(content)
    return pd.read_json(StringIO(json.dumps(content)))


def _from_rows(rows: list[Any]) -> "pd.DataFrame":
    import pandas as pd

    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is {show(row)} and not an object with fields")
    return pd.DataFrame(rows)


def _read_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    mark = "\t" if path.suffix == ".tsv" else ","
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, sep=mark).iloc[0].dropna().tolist()
    # checked here because pandas renames repeated columns
    _require_unique_columns(header, str(path))
    return pd.read_csv(path, index_col=False, sep=mark)


def require_numbers(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Return the frame with all columns as floats; missing cells stay missing.

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


def as_numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """Return the column as floats: NaN for other values, infinite for too large numbers."""
    import pandas as pd

    if column.dtype == object:  # integers too large for int64 stay Python integers
        column = column.map(lambda cell: str(cell) if isinstance(cell, int) else cell)
    return pd.to_numeric(column, errors="coerce").astype("float64")


def drop_infinite(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Return the frame with infinite cells (of diverged runs) as missing, and log them."""
    infinite = np.abs(frame.to_numpy(dtype=np.float64)) > LARGEST
    if infinite.any():
        row, column = (int(axis[0]) for axis in np.nonzero(infinite))
        log.warning(
            "%s: %d infinite cells (run %s, column %r, ...) are taken as missing.",
            where, int(infinite.sum()), frame.index[row], frame.columns[column],
        )  # fmt: skip
    return frame.mask(infinite)


def _require_unique_columns(names: Sequence[str], where: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise TrialsError(
                f"{where} has two columns called {show(name)}; give each its own name."
            )
