"""Index tables by their runs, and join a table of mixtures and one of metrics by run id.

If the metrics are in another order, a join by position silently pairs mixtures with wrong scores.
"""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mixopt.errors import TrialsError, did_you_mean
from mixopt.io.field_names import COST_COLUMNS, ID_COLUMNS, is_id, plain_name
from mixopt.io.run_metadata import is_run_metadata
from mixopt.tables.columns import (
    FIDELITY_COLUMNS,
    is_fidelity,
    without_tracker,
)
from mixopt.tables.csv_layout import name_ids
from mixopt.tables.fidelities import name_fidelities, warn_of_budgets, warn_of_sizes
from mixopt.tables.load_table import LoadedTable, load_table
from mixopt.tables.long_format import widen
from mixopt.tables.numbers import as_numbers
from mixopt.tables.repeats import (
    SEEDS,
    STEPS,
    TOKENS,
    add_lost_runs,
    settle_repeats,
    spread_over_seeds,
)
from mixopt.tables.row_numbers import ROW_NUMBER
from mixopt.tables.run_ids import find_id_column, further_ids

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class ReadTable(NamedTuple):
    """A table by run id, as `read_table` returns it."""

    frame: "pd.DataFrame"
    """One row for each run and fidelity."""
    where: str
    """Its name in messages."""
    begun: "pd.DataFrame"
    """All runs that it lists by id, with their fidelity if it has one: more than the rows of
    `frame` where some have no row of the step that was asked for."""


def read_table(
    table: "str | os.PathLike[str] | pd.DataFrame | LoadedTable",
    what: str,
    id_column: str | None = None,
    *,
    fidelities: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    step: float | None = None,
    numbered: bool = False,
    counts: bool = False,
) -> ReadTable:
    """Index a table by its id column.

    Args:
        table: As `load_table` takes or returns it.
        what: Its content (`ratios`), for messages.
        id_column: Column that names the runs; None takes the first of `ID_COLUMNS`.
        fidelities: As the user names them, if at all.
        ignore: Columns that are left out, and domains, which are never taken for something else.
        step: Step of a run whose rows are taken; the last if None.
        numbered: Number the runs if no column names them; for a table that is joined with no other.
        counts: Whether its ratios are counts, which a column that is called as ids are may hold.

    Returns:
        The table, in which the column that tells models of several sizes apart is called as in
        `FIDELITY_COLUMNS`.

    Raises:
        TrialsError: It cannot be read, a column name repeats, a run has no id, or nothing orders the
            models that runs are of.
    """
    loaded = table if isinstance(table, LoadedTable) else load_table(table, what, id_column, ignore)
    frame, where = loaded
    column = find_id_column(frame, ignore) if id_column is None else id_column
    column = column if column in frame.columns else None
    if column is not None:
        own = [c for c in map(str, frame.columns) if is_fidelity(c)]
        keys = [*own, "model", *SEEDS, *STEPS]
        keys = [column, *(key for key in keys if key != column)]
        frame = widen(frame, what, keys, where, steps=STEPS)
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
    frame = _name_costs(frame, ignore)
    if _fidelity_column(frame) is None:
        warn_of_sizes(ids, where)
    others: list[str] = []
    if what == "ratios":
        others, amounts = further_ids(frame, ignore, may_count=counts)
        if amounts:
            log.info("%s: %s holds numbers that name no runs and is taken for a domain.",
                     where, ", ".join(amounts))  # fmt: skip
    else:
        others = [c for c in map(str, frame.columns) if is_id(c) and c not in ignore]
    if others:
        remedy = "; name it by domains= (--domains on the shell) if it is a domain" * (
            what != "metrics"
        )
        log.info(
            "%s: runs are named by %r; %s is left out%s.", where, column, ", ".join(others), remedy
        )
    listed = frame.set_index(ids)
    frame, ids = settle_repeats(frame.drop(columns=others), ids, where, step, ignore)
    if _fidelity_column(frame) is None:
        warn_of_budgets(frame, where, ignore)
    frame = frame.set_index(ids)
    if frame.empty or not len(frame.columns):
        missing = "rows" if frame.empty else "columns"
        raise TrialsError(f"{where} has no {missing}; give one row per run.")
    return ReadTable(frame, where, add_lost_runs(frame, listed))


def _name_costs(frame: "pd.DataFrame", ignore: Sequence[str]) -> "pd.DataFrame":
    """Return the table with its costs called as in `COST_COLUMNS` (`GPU Hours`, `FLOPs`)."""
    costs = {plain_name(name): name for name in COST_COLUMNS if name not in frame.columns}
    found: dict[str, str] = {}
    for column in map(str, frame.columns):
        name = costs.get(plain_name(column))
        if name is not None and column not in ignore and name not in found.values():
            found[column] = name
    return frame.rename(columns=found)


def _find_unique_texts(frame: "pd.DataFrame") -> str | None:
    """Return the first column of texts that differ in all rows."""
    for column in map(str, frame.columns):
        cells = frame[column]
        texts = all(isinstance(cell, str) for cell in cells)
        if texts and cells.is_unique and as_numbers(cells).isna().all():
            return column
    return None


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
               if c not in keep and (c in known or without_tracker(c).lower() in TOKENS
                                     or is_run_metadata(without_tracker(c)))]  # fmt: skip
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
                + (f" and {fidelity}" if fidelity else ", or a column `seed` or `fidelity`")
                + ", or name the runs by another column (id_column=, --id on the shell)."
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
