"""Read files of tables: CSV, TSV, Parquet, JSON and JSON lines."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.errors import MissingExtraError, TrialsError, one_line
from mixopt.io.parsing import load_json, show
from mixopt.tables.columns import ID_COLUMNS
from mixopt.tables.csv_layout import convert_decimal_commas, find_delimiter, read_text
from mixopt.tables.nested import find_rows

if TYPE_CHECKING:
    import pandas as pd


def read_file(path: Path, what: str, id_column: str | None = None) -> "pd.DataFrame":
    """Read a table.

    Args:
        path: A CSV, TSV, Parquet, JSON or JSON lines file, possibly compressed.
        what: Its content (`ratios`), for messages.
        id_column: Column that names the runs, if it is none of `ID_COLUMNS`; a CSV's is read as text.

    Raises:
        TrialsError: It does not exist, cannot be read, or a column name repeats.
    """
    import pandas as pd

    if not path.is_file():
        raise TrialsError(f"{path} does not exist; give the table with the {what}.")
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".parquet": pd.read_parquet, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl,
        ".json": _read_json}  # fmt: skip
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    kind = Path(name).suffix if Path(name).suffix in readers else ".csv"
    try:
        return readers[kind](path) if kind in readers else _read_csv(path, id_column)
    except MissingExtraError:
        raise
    except (OSError, ValueError, TypeError, RecursionError) as error:
        # the errors of pandas and pyarrow are ValueErrors and OSErrors
        raise TrialsError(
            f"{path} cannot be read as {kind[1:].upper()} ({one_line(error)}); fix the file."
        ) from None


def _read_jsonl(path: Path) -> "pd.DataFrame":
    return _from_lines(read_text(path))


def _from_lines(text: str) -> "pd.DataFrame":
    lines = text.split("\n")  # not at the line ends that a JSON text may hold
    return _from_rows([load_json(line) for line in lines if line.strip()])


def _read_json(path: Path) -> "pd.DataFrame":
    import pandas as pd

    text = read_text(path)
    try:
        content = load_json(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        return _from_lines(text)
    rows = content if isinstance(content, list) else find_rows(content)
    return pd.read_json(StringIO(json.dumps(content))) if rows is None else _from_rows(rows)


def _from_rows(rows: list[Any]) -> "pd.DataFrame":
    import pandas as pd

    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is {show(row)} and not an object with fields")
    return pd.DataFrame(rows)


def _read_csv(path: Path, id_column: str | None) -> "pd.DataFrame":
    import pandas as pd

    text = read_text(path)
    mark = find_delimiter(text.lstrip().split("\n", 1)[0])
    header = pd.read_csv(StringIO(text), header=None, nrows=1, dtype=str, sep=mark).iloc[0]
    # checked here because pandas renames repeated columns
    require_unique_columns(header.dropna().str.strip().tolist(), str(path))
    # as text, because hash-like ids (12e5) look like numbers
    ids = {cell: str for cell in header.dropna() if cell.strip() in (*ID_COLUMNS, id_column)}
    frame = pd.read_csv(StringIO(text), index_col=False, sep=mark, dtype=ids)
    return convert_decimal_commas(frame, surely=mark == ";")


def require_unique_columns(names: Sequence[str], where: str) -> None:
    """Check that no column name repeats.

    Args:
        names: Of the columns.
        where: Name of the table, for the message.

    Raises:
        TrialsError: One does.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise TrialsError(f"{where} has two columns called {show(name)}; rename one.")
