"""Load a table (CSV, TSV, Parquet, JSON, JSON lines or data frame) with plain columns."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mixopt.errors import TrialsError
from mixopt.io.parsing import show
from mixopt.tables.nested import flatten_cells
from mixopt.tables.numbers import to_plain_types
from mixopt.tables.row_index import index_as_columns
from mixopt.tables.row_numbers import ROW_NUMBER, drop_unnamed, names_rows
from mixopt.tables.run_ids import find_id_column
from mixopt.tables.table_files import read_file, require_unique_columns

if TYPE_CHECKING:
    import pandas as pd


class LoadedTable(NamedTuple):
    """A table before its runs are named, as `load_table` returns it."""

    frame: "pd.DataFrame"
    """Its rows; what the index held is in columns."""
    where: str
    """Its name in messages."""


def load_table(
    table: "str | os.PathLike[str] | pd.DataFrame",
    what: str,
    id_column: str | None = None,
    ignore: Sequence[str] = (),
) -> LoadedTable:
    """Load a table.

    Args:
        table: A file or a data frame; what its index holds are columns too, except positions.
        what: Its content (`ratios`), for messages.
        id_column: Column that names the runs, if the user names it.
        ignore: Columns that are left out, and domains.

    Raises:
        TrialsError: It cannot be read, or a column name repeats.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        frame, where = table.copy(), f"The {what} table"
    elif isinstance(table, str | os.PathLike):
        frame, where = read_file(Path(table), what, id_column), str(table)
    else:
        raise TrialsError(f"{what} is {show(table)}; give a file or a pandas DataFrame.")
    if isinstance(frame.columns, pd.MultiIndex):
        frame.columns = [
            "/".join(str(part) for part in name if str(part).strip()) for name in frame.columns
        ]
    frame.columns = [str(name).strip() for name in frame.columns]
    require_unique_columns(list(frame.columns), where)
    frame = index_as_columns(frame, where, id_column, ignore)
    frame = flatten_cells(to_plain_types(frame))
    require_unique_columns(list(map(str, frame.columns)), where)
    frame = drop_unnamed(frame, where)
    is_unnamed = id_column is None and find_id_column(frame, ignore) is None
    if is_unnamed and names_rows(frame):
        frame = frame.rename(columns={ROW_NUMBER: "run"})
    return LoadedTable(frame, where)
