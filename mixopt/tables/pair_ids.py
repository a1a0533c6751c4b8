"""Choose the id columns by which a table of mixtures and one of metrics are joined.

Each table may have several columns that are called as ids are. Chosen for each table alone, `id` of the
one could meet `run` of the other, both of which count from 0, and every mixture would get the scores of
another.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from mixopt.errors import TrialsError
from mixopt.io.field_names import is_id, plain_name
from mixopt.tables.columns import STATE_COLUMNS
from mixopt.tables.csv_layout import INTEGER, name_ids
from mixopt.tables.numbers import as_numbers
from mixopt.tables.run_ids import find_id_column, find_ids

if TYPE_CHECKING:
    import pandas as pd

POSITIONS = "index"
"""Name that `reset_index()` gives to positions, which may differ between two tables."""
MODEL = "model"
"""An id by name, which other things than runs have too."""


def choose_pair_ids(
    mixtures: "pd.DataFrame", scores: "pd.DataFrame", ignore: Collection[str] = ()
) -> tuple[str | None, str | None]:
    """Return the id column of each table; one that both have goes before others.

    Args:
        mixtures: Table of ratios, with its ids in a column.
        scores: Table of metrics, likewise.
        ignore: Columns that are left out, and domains.

    Returns:
        The columns; None for a table in which none is called as ids are.
    """
    own = find_id_column(mixtures, ignore), find_id_column(scores, ignore)
    first, second = own
    if first is None or second is None or plain_name(first) == plain_name(second):
        return own
    in_scores = {plain_name(c): c for c in find_ids(_columns(scores, ignore))[::-1]}
    for column in find_ids(_columns(mixtures, ignore)):
        other = in_scores.get(plain_name(column))
        if other is None or (plain_name(column) == POSITIONS and column != first != other):
            continue
        # a name that several mixtures have (of a sweep) names none of them
        if mixtures[column].nunique() < mixtures[first].nunique():
            continue
        found, met = _ids(mixtures[column]), _ids(scores[other])
        if not found & met:
            continue
        ids = _ids(mixtures[first])
        if _are_counted(found) and not _are_counted(ids) and ids == _ids(scores[second]):
            continue  # hashes that meet say more than numbers of rows
        return column, other
    return own


def require_same_rows(
    mixtures: "pd.DataFrame",
    scores: "pd.DataFrame",
    ids: tuple[str | None, str | None],
    ignore: Collection[str] = (),
) -> None:
    """Check that columns of both tables agree after a join by ids of different names.

    Args:
        mixtures: Table of ratios, with its ids in a column.
        scores: Table of metrics, likewise.
        ids: Column of ids of each.
        ignore: Columns that are left out, and domains.

    Raises:
        TrialsError: A column that both have pairs the runs in another way.
    """
    first, second = ids
    if first is None or second is None or plain_name(first) == plain_name(second):
        return
    known = set(_columns(scores, ignore))
    for column in _columns(mixtures, ignore):
        if column not in known or column.lower() in STATE_COLUMNS:
            continue
        left, right = _by_id(mixtures, first, column), _by_id(scores, second, column)
        if left is None or right is None:
            continue
        values, others = set(left.values()), set(right.values())
        told = values == others and (
            as_numbers(mixtures[column]).isna().all() or len(values) == len(left)
        )
        told |= is_id(column) and plain_name(column) != MODEL and bool(values & others)
        if len(values) < 2 or not told:
            continue
        wrong = next((run for run, cell in left.items() if right.get(run, cell) != cell), None)
        if wrong is not None:
            raise TrialsError(
                f"The tables name their runs by {first!r} and by {second!r}, and both have a column "
                f"{column!r}, which differs after that join (run {wrong!r}: {left[wrong]!r} and "
                f"{right[wrong]!r}); name the column of both that tells their runs (id_column=, --id on "
                f"the shell), or leave {column!r} out (ignore=, --ignore)."
            )


def _columns(frame: "pd.DataFrame", ignore: Collection[str]) -> list[str]:
    return [c for c in map(str, frame.columns) if c not in ignore]


def _ids(cells: "pd.Series[Any]") -> set[str]:
    return set(name_ids(cells.dropna()))


def _are_counted(ids: set[str]) -> bool:
    return all(INTEGER.fullmatch(one) for one in ids)


def _by_id(frame: "pd.DataFrame", ids: str, column: str) -> dict[str, str] | None:
    """Return the cell of each run; None where a run has several, or the column is its id."""
    rows = frame[[ids, column]].dropna().drop_duplicates() if ids != column else None
    if rows is None or rows.empty or rows[ids].duplicated().any():
        return None
    return dict(zip(name_ids(rows[ids]), name_ids(rows[column]), strict=True))
