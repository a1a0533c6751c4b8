"""Steps of a run in rows of a table: their numbers, and metrics that the last step lacks."""

import logging
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from mixopt.errors import TrialsError
from mixopt.io.model_sizes import parse_size
from mixopt.io.parsing import show

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

THOUSANDS = re.compile(r"\d{1,3}(?:[,_ ]\d{3})+")
"""A whole number with marks between thousands; steps have no decimals, so a comma is none."""
SHOWN = 5
"""Number of columns and of runs that a log message names."""


def read_steps(cells: "pd.Series[Any]", where: str) -> "pd.Series[float]":
    """Return steps as numbers (`1,000`, `1k` and `2B` too); NaN for empty cells.

    Args:
        cells: Column of steps, epochs or tokens.
        where: Name of the table.

    Raises:
        TrialsError: A cell is no number.
    """
    numbers = {cell: _read_step(cell, cells.name, where) for cell in cells.dropna().unique()}
    return cells.map(numbers).astype("float64")


def _read_step(cell: object, column: object, where: str) -> float:
    text = str(cell).strip()
    if not text:
        return float("nan")
    if THOUSANDS.fullmatch(text):
        text = re.sub("[,_ ]", "", text)
    try:
        return float(text)
    except ValueError:
        size = parse_size(text)
    if size is None:
        raise TrialsError(
            f"{where}: {show(cell)} in {show(column)} is no number, so it is not known which row of a "
            "run is the last; fix the cell, or keep one row for each run."
        )
    return size


def fill_from_earlier(
    frame: "pd.DataFrame",
    kept: "pd.Series[bool]",
    runs: "pd.Series[Any]",
    order: "pd.Series[float]",
    where: str,
) -> "pd.DataFrame":
    """Return the kept rows; a metric that no run has at its last step has its last value there.

    Trainers evaluate every so many steps, and the last step need not be one of these. Where some runs
    have a metric at their last step, the others may have diverged: theirs stay missing, and are named.

    Args:
        frame: Rows of all steps (`n`).
        kept: Whether a row is that of its run's last step.
        runs: Run of each row.
        order: Step of each row.
        where: Name of the table.
    """
    import pandas as pd

    last = frame[kept].copy()
    codes, _ = pd.factorize(runs)
    numbers, places = order.to_numpy(), np.flatnonzero(kept)
    by_step = np.argsort(numbers, kind="stable")
    filled: list[str] = []
    lost: list[str] = []
    steps: set[float] = set()
    names: dict[str, None] = {}
    for number, column in enumerate(frame.columns):
        cells = frame[column]
        missing = cells.isna().to_numpy()
        rows = by_step[(~missing & ~np.isnan(numbers))[by_step]]
        if not missing[places].any() or not len(rows):
            continue
        source = np.full(len(frame), -1)
        source[codes[rows]] = rows  # of several rows of a run the last one stays
        found = source[codes[places]]
        known = missing[places] & (found >= 0)
        if missing[places].all():
            taken = cells.iloc[found].mask(found < 0).set_axis(last.index)
            last.isetitem(number, taken.array)
            steps |= set(numbers[found[known]])
            filled.append(str(column))
        elif known.any():
            lost.append(str(column))
            names |= dict.fromkeys(runs.iloc[places[known]].astype(str))
    if filled:
        ends = dict.fromkeys((min(steps), max(steps)))
        log.info("%s: no run has %s at its last step; the last value of each is taken (step %s).",
                 where, _list(filled), " to ".join(f"{end:g}" for end in ends))  # fmt: skip
    if lost:
        log.warning("%s: %s has no value at the last step of %s, and earlier ones are not taken.",
                    where, _list(lost), _list(list(names)))  # fmt: skip
    return last


def _list(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
