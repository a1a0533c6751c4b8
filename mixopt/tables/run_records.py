"""What a tracker records of a run beside ratios and metrics: its state, times, names and switches."""

import logging
from typing import TYPE_CHECKING

import numpy as np

from mixopt.errors import TrialsError
from mixopt.io.field_names import COST_COLUMNS
from mixopt.io.run_metadata import is_run_metadata
from mixopt.tables.columns import FIDELITY_COLUMNS, FINISHED, STATE_COLUMNS, without_tracker
from mixopt.tables.numbers import as_numbers

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SHOWN = 60
"""Characters of states that a message repeats."""


def drop_unfinished(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Return the runs that are finished by a column of states, without that column.

    Args:
        frame: A table of runs; as it is where it has no such column.
        where: Name of the table, for messages.

    Raises:
        TrialsError: No run is finished.
    """
    column = next((c for c in map(str, frame.columns) if c.lower() in STATE_COLUMNS), None)
    if column is None:
        return frame
    done = frame[column].astype(str).str.lower().isin(FINISHED)
    if not done.any():
        states = ", ".join(dict.fromkeys(frame[column].astype(str)))[:SHOWN]
        raise TrialsError(
            f"{where}: no run is finished by its {column!r} ({states}); give runs that are, or leave "
            f"the column out (ignore=, --ignore {column} on the shell) if it says something else."
        )
    if not done.all():
        log.warning("%s: %d runs that are not finished are left out.", where, int((~done).sum()))
    return frame[done].drop(columns=column)


def drop_run_metadata(scores: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Return a table without columns of text, switches, and records such as times and hosts.

    Args:
        scores: One row for each run.
        where: Name of the table, for messages.
    """
    known = (*COST_COLUMNS, *FIDELITY_COLUMNS)
    texts = [c for c in scores.columns if c not in known and scores[c].notna().any()
             and (is_bool(scores[c]) or as_numbers(scores[c]).isna().all())]  # fmt: skip
    if texts:
        log.info("%s: %s hold no numbers and are left out.", where, ", ".join(map(str, texts)))
        scores = scores.drop(columns=texts)
    records = [c for c in scores.columns if is_run_metadata(without_tracker(str(c)))]
    if records:
        log.info("%s: %s are records of the runs, not metrics, and are left out.",
                 where, ", ".join(map(str, records)))  # fmt: skip
    return scores.drop(columns=records)


def is_bool(column: "pd.Series[float]") -> bool:
    """Return whether cells are true or false, some perhaps missing."""
    known = column.dropna()
    return len(known) > 0 and all(isinstance(cell, bool | np.bool_) for cell in known)
