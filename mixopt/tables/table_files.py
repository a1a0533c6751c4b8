"""Read files of tables, told by content and name: CSV, TSV, Parquet, Arrow, JSON and JSON lines."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.errors import MissingExtraError, TrialsError, one_line
from mixopt.io.field_names import is_id
from mixopt.io.parsing import load_json, show
from mixopt.io.text_content import read_content, read_text
from mixopt.tables.csv_layout import find_table
from mixopt.tables.decimal_marks import convert_decimal_commas, has_commas
from mixopt.tables.nested import find_rows

if TYPE_CHECKING:
    import pandas as pd

REFUSED = {
    ".xlsx": "an Excel workbook; save its sheet as CSV",
    ".xls": "an Excel workbook; save its sheet as CSV",
    ".ods": "a workbook; save its sheet as CSV",
    ".pkl": "a pickle, which can run code; save the frame by to_parquet or to_csv",
    ".pickle": "a pickle, which can run code; save the frame by to_parquet or to_csv",
    ".h5": "an HDF5 file; save the frame by to_parquet or to_csv",
    ".orc": "an ORC file; save the frame by to_parquet or to_csv",
    ".db": "a database; save the table as CSV",
    ".sqlite": "a database; save the table as CSV",
    ".zip": "an archive; unpack it",
    ".bz2": "compressed by bzip2; unpack it",
    ".xz": "compressed by xz; unpack it",
}
"""What a file with an ending of another format is, and what to do."""
MAGIC = (
    (b"PAR1", ".parquet"), (b"ARROW1", ".arrow"), (b"\xff\xff\xff\xff", ".arrow"),
    (b"\x1f\x8b", "gzip"), (b"PK\x03\x04", REFUSED[".zip"]), (b"SQLite", REFUSED[".db"]),
    (b"\x89HDF", REFUSED[".h5"]), (b"\xd0\xcf\x11\xe0", REFUSED[".xls"]),
)  # fmt: skip
"""First bytes of formats, which tell them under any name."""


def read_file(path: Path, what: str, id_column: str | None = None) -> "pd.DataFrame":
    """Read a table.

    Args:
        path: A CSV, TSV, Parquet, JSON or JSON lines file, possibly compressed.
        what: Its content (`ratios`), for messages.
        id_column: Column that names the runs, if its name does not tell it; a CSV's is read as text.

    Raises:
        TrialsError: It does not exist, cannot be read, or a column name repeats.
    """
    path = path.expanduser()
    if path.is_dir():
        raise TrialsError(f"{path} is a folder; give the file in it with the {what}.")
    if not path.is_file():
        raise TrialsError(f"{path} does not exist; give the table with the {what}.")
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    ending = Path(name).suffix
    with path.open("rb") as stream:
        head = stream.read(8)
    known = next((kind for mark, kind in MAGIC if head.startswith(mark)), None)
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".parquet": _read_parquet, ".arrow": _read_arrow, ".feather": _read_arrow,
        ".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".json": _read_json}  # fmt: skip
    if ending in REFUSED and known not in readers:
        known = REFUSED[ending]
    if known in REFUSED.values():
        raise TrialsError(f"{path} is {known}.")
    if known == "gzip" and path.suffix != ".gz":
        raise TrialsError(f"{path} is compressed by gzip; name it {path.name}.gz, or unpack it.")
    kind = known if known in readers else ending if ending in readers else ".csv"
    try:
        if kind == ".csv":
            text = read_text(path)
            return _parse_json(text) if _is_json(text) else _parse_csv(text, path, id_column)
        return readers[kind](path)
    except (MissingExtraError, TrialsError):
        raise
    except (OSError, ValueError, TypeError, RecursionError, csv.Error) as error:
        # the errors of pandas and pyarrow are ValueErrors and OSErrors
        raise TrialsError(
            f"{path} cannot be read as {kind[1:].upper()} ({one_line(error)}); fix the file."
        ) from None


def _read_parquet(path: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_parquet(path)


def _read_arrow(path: Path) -> "pd.DataFrame":
    """Read an Arrow file (Feather is one) or stream."""
    import pyarrow as pa

    content = read_content(path)
    is_file = content.startswith(b"ARROW1")
    with (pa.ipc.open_file if is_file else pa.ipc.open_stream)(content) as reader:
        frame: pd.DataFrame = reader.read_all().to_pandas()
    return frame


def _is_json(text: str) -> bool:
    """Return whether a text begins like JSON: an object, or an array of objects."""
    start = text[:4096].lstrip()
    return start[:1] == "{" or (start[:1] == "[" and start[1:].lstrip()[:1] in ("{", "]"))


def _read_jsonl(path: Path) -> "pd.DataFrame":
    return _from_lines(read_text(path))


def _from_lines(text: str) -> "pd.DataFrame":
    lines = text.split("\n")  # not at the line ends that a JSON text may hold
    return _from_rows([load_json(line) for line in lines if line.strip()])


def _read_json(path: Path) -> "pd.DataFrame":
    return _parse_json(read_text(path))


def _parse_json(text: str) -> "pd.DataFrame":
    import pandas as pd

    try:
        content = load_json(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        return _from_lines(text)
    if (
        isinstance(content, dict) and {"columns", "data"} <= content.keys()
    ):  # a W&B Table, or pandas
        return pd.DataFrame(content["data"], columns=content["columns"])
    rows = content if isinstance(content, list) else find_rows(content)
    return pd.read_json(StringIO(json.dumps(content))) if rows is None else _from_rows(rows)


def _from_rows(rows: list[Any]) -> "pd.DataFrame":
    import pandas as pd

    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is {show(row)} and not an object with fields")
    return pd.DataFrame(rows)


def _parse_csv(text: str, path: Path, id_column: str | None) -> "pd.DataFrame":
    import pandas as pd

    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    text, mark = find_table(text)
    as_text: Any = {"sep": mark, "dtype": str}
    # words that pandas takes for missing cells (NA, None) may be names of columns and of runs
    named: Any = {**as_text, "keep_default_na": False, "na_values": [""]}
    header = pd.read_csv(StringIO(text), header=None, nrows=1, **named).iloc[0]
    # checked here because pandas renames repeated columns
    require_unique_columns(header.dropna().str.strip().tolist(), str(path))
    # as text, because hash-like ids (12e5) look like numbers
    ids = [cell for cell in header.dropna() if is_id(cell.strip(), id_column)]
    # spreadsheets end rows with empty cells
    used = list(range(1 + int(header.notna().to_numpy().nonzero()[0].max(initial=0))))
    _require_named_cells(text, mark, len(used), path)

    def read(**options: Any) -> pd.DataFrame:
        frame: pd.DataFrame = pd.read_csv(StringIO(text), index_col=False, usecols=used, **options)
        return frame

    rows = read(sep=mark, dtype=dict.fromkeys(ids, str))
    if ids:
        rows[ids] = read(**named)[ids]
    filled = rows.notna().any(axis="columns")
    if mark != ";" and not any(has_commas(rows[c]) for c in rows.columns if c not in ids):
        return rows.dropna(how="all")
    texts = read(**as_text)
    return convert_decimal_commas(
        rows[filled], texts[filled], surely=mark == ";", where=str(path), ids=ids
    )


def _require_named_cells(text: str, mark: str, n_columns: int, path: Path) -> None:
    """Check that no row has a cell without a column, as pandas reads such rows without a word."""
    number = -1  # the header
    try:
        for cells in csv.reader(StringIO(text, newline=""), delimiter=mark):
            if not any(cell.strip() for cell in cells):
                continue
            number += 1
            if number and any(cell.strip() for cell in cells[n_columns:]):
                raise TrialsError(
                    f"{path}, row {number}: {len(cells)} cells, and the header names {n_columns} "
                    "columns; name each column, quote numbers with a decimal comma, or write the table "
                    "without row names (row.names=FALSE in R)."
                )
    except csv.Error as error:
        raise ValueError(f"after row {max(number, 0)}: {one_line(error)}") from None


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
