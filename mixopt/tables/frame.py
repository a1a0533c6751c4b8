"""Load tables (CSV, TSV, Parquet, JSON, JSON lines or data frame), and join them by run id.

If the metrics are in another order, a join by position silently pairs mixtures with wrong scores.
"""

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mixopt.errors import MissingExtraError, MixtureError, TrialsError, did_you_mean, one_line
from mixopt.io.parsing import load_json, show
from mixopt.tables.bookkeeping import is_bookkeeping
from mixopt.tables.columns import COST_COLUMNS, FIDELITY_COLUMNS, ID_COLUMNS, without_tracker
from mixopt.tables.csv_layout import convert_decimal_commas, find_delimiter, name_ids, read_text
from mixopt.tables.fidelities import name_fidelities, warn_of_sizes
from mixopt.tables.long_format import widen
from mixopt.tables.nested import find_rows, flatten_cells
from mixopt.tables.repeats import SEEDS, STEPS, settle_repeats, spread_over_seeds

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LARGEST = 1e100  # a larger score, of a diverged run, is infinite: its square would overflow
ROW_NUMBER = "Unnamed: 0"
"""pandas' name for the row numbers that `to_csv` writes; they are positions, not run ids."""
PERCENT = re.compile(r"[-+]?\d+(?:\.\d*)?\s*%")
ROUNDING_TOLERANCE = 0.01  # rows with a sum this close to one are rounded (RegMix: to 0.001)
ROUNDING_OF_ZERO = 1e-9  # a negative ratio smaller than this is zero with an error of arithmetic
COUNTS_FROM = 1.5  # rows with a larger sum are probably counts or percentages


def read_table(
    table: "str | os.PathLike[str] | pd.DataFrame",
    what: str,
    id_column: str | None = None,
    *,
    fidelities: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    step: float | None = None,
    numbered: bool = False,
) -> tuple["pd.DataFrame", str]:
    """Load a table and index it by its id column.

    Args:
        table: A file or a data frame.
        what: Its content (`ratios`), for messages.
        id_column: Column that names the runs; None takes the first of `ID_COLUMNS`.
        fidelities: As the user names them, if at all.
        ignore: Columns that are left out, and domains, which are never taken for something else.
        step: Step of a run whose rows are taken; the last if None.
        numbered: Number the runs if no column names them; for a table that is joined with no other.

    Returns:
        The table (`n` rows by id), and its name for messages. The column that tells models of several
        sizes apart is called as in `FIDELITY_COLUMNS`.

    Raises:
        TrialsError: It cannot be read, a column name repeats, a run has no id, or nothing orders the
            models that runs are of.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        frame, where = table.copy(), f"The {what} table"
    elif isinstance(table, str | os.PathLike):
        frame, where = _read_file(Path(table), what, id_column), str(table)
    else:
        raise TrialsError(f"{what} is {show(table)}; give a file or a pandas DataFrame.")
    frame.columns = [name.strip() if isinstance(name, str) else name for name in frame.columns]
    frame = flatten_cells(frame)
    _require_unique_columns(list(map(str, frame.columns)), where)
    keys = [id_column] if id_column is not None else list(ID_COLUMNS)
    if frame.index.name in ID_COLUMNS and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    named = next((key for key in keys if key in frame.columns), None)
    if named is not None:
        others = [*FIDELITY_COLUMNS, "model", *SEEDS, *STEPS]
        frame = widen(frame, what, [named, *(key for key in others if key != named)], where)
    column = id_column or next((name for name in ID_COLUMNS if name in frame.columns), None)
    if id_column is not None and id_column not in frame.columns:
        hint = did_you_mean(id_column, list(map(str, frame.columns)))
        raise TrialsError(f"{where} has no column {id_column!r} that names its runs. {hint}")
    if numbered and (column is None or (column == "model" and not frame[column].is_unique)):
        column = _find_unique_texts(frame)
        if column is None:
            column = "row"
            frame = frame.assign(row=[f"row {number}" for number in range(1, len(frame) + 1)])
        how = "their rows" if column == "row" else repr(column)
        log.info("%s: no column is known to name its runs; they are named by %s.", where, how)
    if column is None:
        raise TrialsError(
            f"{where} has no column that names its runs; add one of "
            f"{', '.join(ID_COLUMNS)}, or name it by id_column= (--id on the shell)."
        )
    if ROW_NUMBER in frame.columns:
        log.info("%s: the row numbers in its first column are left out; runs are named by %r.",
                 where, column)  # fmt: skip
        frame = frame.drop(columns=ROW_NUMBER)
    if frame[column].isna().any():
        raise TrialsError(f"{where}: a cell of its id column {column!r} is empty; name every run.")
    ids = name_ids(frame[column]).rename(column)
    frame = name_fidelities(frame.drop(columns=column), where, given=fidelities, ignore=ignore)
    if _fidelity_column(frame) is None:
        warn_of_sizes(ids, where)
    others = [name for name in ID_COLUMNS if name in frame.columns and name not in ignore]
    if others:
        log.info("%s: runs are named by %r; %s is left out.", where, column, ", ".join(others))
    frame, ids = settle_repeats(frame.drop(columns=others), ids, where, step)
    frame = frame.set_index(ids)
    if frame.empty or not len(frame.columns):
        missing = "rows" if frame.empty else "columns"
        raise TrialsError(f"{where} has no {missing}; give one row per run.")
    return frame, where


def _find_unique_texts(frame: "pd.DataFrame") -> str | None:
    """Return the first column of texts that differ in all rows."""
    for column in map(str, frame.columns):
        cells = frame[column]
        if cells.notna().all() and cells.is_unique and as_numbers(cells).isna().all():
            return column
    return None


def _read_file(path: Path, what: str, id_column: str | None) -> "pd.DataFrame":
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
    _require_unique_columns(header.dropna().str.strip().tolist(), str(path))
    # as text, because hash-like ids (12e5) look like numbers
    ids = {cell: str for cell in header.dropna() if cell.strip() in (*ID_COLUMNS, id_column)}
    frame = pd.read_csv(StringIO(text), index_col=False, sep=mark, dtype=ids)
    return convert_decimal_commas(frame, surely=mark == ";")


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


def as_numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """Return the column as floats, percent as shares; NaN for what is no number."""
    import pandas as pd

    if column.dtype.kind == "O" or pd.api.types.is_string_dtype(column):
        # integers too large for int64 stay Python integers
        column = column.map(lambda cell: str(cell) if isinstance(cell, int) else cell)
        texts = [cell.strip() for cell in column.dropna() if isinstance(cell, str) and cell.strip()]
        if texts and all(PERCENT.fullmatch(text) for text in texts):
            column = column.map(
                lambda cell: float(cell.strip()[:-1]) / 100 if cell == cell else cell
            )
    return pd.to_numeric(column, errors="coerce").astype("float64")


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


def _require_unique_columns(names: Sequence[str], where: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise TrialsError(f"{where} has two columns called {show(name)}; rename one.")


def join(
    mixtures: "pd.DataFrame",
    mixtures_name: str,
    scores: "pd.DataFrame",
    scores_name: str,
    *,
    keep: Sequence[str] = (),
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Return both tables with the same runs in the same order.

    The fidelity column may be in either table or in both; in the result it is in `scores`. Columns
    of `mixtures` that are known not to be ratios are dropped.

    Args:
        mixtures: Ratios, indexed by run id (`n x d`).
        mixtures_name: Its name in messages.
        scores: Metrics, indexed by run id (`n x m`).
        scores_name: Its name in messages.
        keep: Domains, which are never dropped.

    Raises:
        TrialsError: An id repeats, or is in one table only.
    """
    mixtures = spread_over_seeds(mixtures, scores)
    check_ids(mixtures, mixtures_name, scores, scores_name)
    fidelity, own = _fidelity_column(mixtures), _fidelity_column(scores)
    if fidelity in keep:
        fidelity = None
    if fidelity is not None and own is not None:
        keyed = [
            frame.set_axis([f"{i} ({v})" for i, v in zip(frame.index, frame[c], strict=True)])
            for frame, c in ((mixtures, fidelity), (scores, own))
        ]
        check_ids(keyed[0], mixtures_name, keyed[1], scores_name)
        mixtures = mixtures.iloc[keyed[0].index.get_indexer(keyed[1].index)]
    elif fidelity is not None:
        if mixtures.index.has_duplicates:
            raise TrialsError(
                f"{mixtures_name} distinguishes runs by {fidelity!r} and {scores_name} has no such "
                "column; add it."
            )
        scores = scores.loc[mixtures.index].assign(**{fidelity: mixtures[fidelity]})
    elif scores.index.has_duplicates:  # one mixture was run at several fidelities
        mixtures = mixtures.loc[scores.index]
    else:
        scores = scores.loc[mixtures.index]
    known = (*COST_COLUMNS, *FIDELITY_COLUMNS)
    dropped = [c for c in map(str, mixtures.columns)
               if (c in known or is_bookkeeping(without_tracker(c))) and c not in keep]  # fmt: skip
    if dropped:
        log.info("%s: %s are not domains and are left out; name them by domains= (--domains on the "
                 "shell) if they are.", mixtures_name, ", ".join(dropped))  # fmt: skip
    return mixtures.drop(columns=dropped), scores


def _fidelity_column(frame: "pd.DataFrame") -> str | None:
    return next((name for name in FIDELITY_COLUMNS if name in frame.columns), None)


def check_ids(
    mixtures: "pd.DataFrame", mixtures_name: str, scores: "pd.DataFrame", scores_name: str
) -> None:
    """Check that both tables have the same run ids, once per fidelity.

    Args:
        mixtures: Indexed by run id.
        mixtures_name: Its name in messages.
        scores: Indexed by run id.
        scores_name: Its name in messages.

    Raises:
        TrialsError: An id repeats, or is in one table only.
    """
    for frame, where in ((mixtures, mixtures_name), (scores, scores_name)):
        fidelity = _fidelity_column(frame)
        fidelities = frame[fidelity].astype(str) if fidelity else frame.index
        counts = Counter(zip(frame.index, fidelities, strict=True))
        repeated = [run for (run, _), count in counts.items() if count > 1]
        if repeated:
            raise TrialsError(
                f"{where} has run {repeated[0]!r} more than once; keep one row for each run"
                + (f" and {fidelity}." if fidelity else ", or a column `seed` or `fidelity`.")
            )
    unmatched = mixtures.index.symmetric_difference(scores.index)
    if len(unmatched):
        _explain_offset(mixtures, scores)
        sides = [mixtures_name, scores_name]
        side, other = sides if unmatched[0] in mixtures.index else reversed(sides)
        raise TrialsError(
            f"{len(unmatched)} runs are in one table only (run {unmatched[0]!r} is in {side} and not "
            f"in {other}); give both tables the same ids."
        )


def _explain_offset(mixtures: "pd.DataFrame", scores: "pd.DataFrame") -> None:
    """Raise `TrialsError` if one table numbers its runs from 0 and the other from 1, say."""
    if not all(str(name).lstrip("-").isdigit() for name in (*mixtures.index, *scores.index)):
        return
    first, second = (sorted({int(str(name)) for name in t.index}) for t in (mixtures, scores))
    alike = len(first) == len(second) > 1 and first != second
    if alike and len({b - a for a, b in zip(first, second, strict=True)}) == 1:
        raise TrialsError(
            f"The runs of one table are numbered from {first[0]} and those of the other from "
            f"{second[0]}; number both alike, so that no mixture gets another's scores."
        )


def normalize_rows(
    rows: np.ndarray, ids: Sequence[object], where: str, *, counts: bool = False
) -> np.ndarray:
    """Return rows (`n x d`) divided by their sums.

    Args:
        rows: Ratios that sum to one within `ROUNDING_TOLERANCE`, or counts (`n x d`).
        ids: Run ids (`n`), for messages.
        where: Name of the table, for messages.
        counts: Accept rows of any positive sum.

    Raises:
        MixtureError: A ratio is missing, infinite or negative, or a row has the wrong sum.
    """
    rows = np.where((rows < 0) & (rows > -ROUNDING_OF_ZERO), 0.0, rows)
    sums = rows.sum(axis=1)
    for identifier, row, total in zip(ids, rows, sums, strict=True):
        if not np.isfinite(row).all() or (row < 0).any():
            raise MixtureError(
                f"{where}, run {identifier}: a ratio is missing, infinite or negative; fix the row."
            )
        if counts and total <= 0:
            raise MixtureError(f"{where}, run {identifier}: all its counts are zero; fix the row.")
        if not counts and abs(total - 1) > ROUNDING_TOLERANCE:
            remedy = "fix the row."
            if total > COUNTS_FROM:
                remedy = "for counts or percentages pass counts=True (--counts on the shell)."
            raise MixtureError(
                f"{where}, run {identifier}: the ratios sum to {total:.4g}, not to 1; {remedy}"
            )
    rounded = int((np.abs(sums - 1) > 1e-9).sum())
    if rounded and not counts:
        log.info("%s: %d of %d rows summed to 1 only within rounding and were normalized.",
                 where, rounded, len(rows))  # fmt: skip
    return cast(np.ndarray, rows / sums[:, None])
