"""Tables as they lie on disk: CSV, Parquet, JSON lines, or a frame, indexed by the run's id."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixopt.errors import TrialsError
from mixopt.tables.columns import ID_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

ROW_NUMBER = "Unnamed: 0"
"""What pandas calls the row numbers that `to_csv` writes: they name a place, not a run."""


def read_table(
    table: "str | os.PathLike[str] | pd.DataFrame", what: str
) -> tuple["pd.DataFrame", str]:
    """A table indexed by its id column, and the words that name it in errors.

    Raises:
        TrialsError: It cannot be read, or its runs or columns are not named once each.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        frame, where = table.copy(), f"The {what} table"
    else:
        frame, where = _read_file(Path(table), what), str(table)
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
        lacking = "rows" if frame.empty else "columns"
        raise TrialsError(f"{where} has no {lacking}; give one row per run.")
    return frame, where


def _read_file(path: Path, what: str) -> "pd.DataFrame":
    import pandas as pd

    if not path.is_file():
        raise TrialsError(f"{path} does not exist; give the table with the {what}.")
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".parquet": pd.read_parquet,
        ".jsonl": lambda p: pd.read_json(p, lines=True),
        ".json": pd.read_json,
    }
    kind = path.suffix if path.suffix in readers else ".csv"
    try:
        return readers.get(kind, _read_csv)(path)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        # pandas' and pyarrow's own errors are ValueErrors and OSErrors
        told = " ".join(str(error).split())[:200]
        raise TrialsError(
            f"{path} cannot be read as {kind[1:].upper()} ({told}); mend it."
        ) from None


def _read_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    mark = "\t" if path.suffix == ".tsv" else ","
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, sep=mark).iloc[0].dropna().tolist()
    # pandas renames a column that is there twice
    _require_unique_columns(header, str(path))
    return pd.read_csv(path, index_col=False, sep=mark)


def require_numbers(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """The frame with every cell a finite number or missing.

    Raises:
        TrialsError: A cell is neither.
    """
    import pandas as pd

    found = frame.copy()
    for name in frame.columns:
        numbers = pd.to_numeric(frame[name], errors="coerce").astype("float64")
        bad = np.flatnonzero(numbers.isna() & frame[name].notna())
        if len(bad):
            raise TrialsError(
                f"{where}, run {frame.index[bad[0]]}, column {name!r}: {frame[name].iloc[bad[0]]!r} "
                "is not a number; mend the cell or take the column out (ignore=, --ignore on the "
                "shell)."
            )
        found[name] = numbers
    return found


def drop_infinite(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """The frame with infinite cells missing, which is said: a run that diverged has no score."""
    infinite = np.isinf(frame.to_numpy(dtype=np.float64))
    if infinite.any():
        row, column = (int(axis[0]) for axis in np.nonzero(infinite))
        log.warning(
            "%s: %d infinite cells (run %s, column %r, ...) are taken as missing.",
            where, int(infinite.sum()), frame.index[row], frame.columns[column],
        )  # fmt: skip
    return frame.mask(infinite)


def _require_unique_columns(names: Sequence[str], where: str) -> None:
    for name in names:
        if list(names).count(name) > 1:
            raise TrialsError(f"{where} has two columns called {name!r}; give each its own name.")
