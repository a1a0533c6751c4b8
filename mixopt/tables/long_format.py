"""Tables with a row for each metric, or each domain, of a run."""

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from mixopt.tables.numbers import as_numbers

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

METRICS = (("task", "benchmark", "dataset", "metric", "metric_name", "key"),
           ("value", "score", "metric_value", "result"))  # fmt: skip
"""Columns with the name of a metric, which are joined if there are several, and with its value."""
DOMAINS = (
    ("domain", "source"),
    ("ratio", "weight", "proportion", "share", "percent", "percentage"),
)
"""Columns with a domain and its ratio."""
STD_ERRORS = ("stderr", "se", "std_err", "std_error", "sem", "metric_stderr", "score_stderr")
"""Columns with the standard error of a metric's value."""
COUNTS = ("tokens", "token_count", "count")
"""Columns with what a domain has, in a table of mixtures alone; elsewhere these are of the run."""


def widen(
    frame: "pd.DataFrame",
    what: str,
    keys: list[str],
    where: str,
    steps: Collection[str] = (),
) -> "pd.DataFrame":
    """Return the table with a column for each metric (or domain) and a row for each run.

    Standard errors beside the values get a column `x_stderr`.

    Args:
        frame: The table; one with a row per run is returned as it is.
        what: Its content: `ratios`, `metrics` or `runs`.
        keys: Columns that tell runs apart (id, fidelity, seed, step).
        where: Its name, for the log.
        steps: Those of them that tell a run's steps, at each of which one metric may be logged.
    """
    if what == "ratios":
        return _widen(frame, (DOMAINS[0], DOMAINS[1] + COUNTS), keys, where)
    if what == "runs":  # which may have its ratios in rows too
        frame = _widen(frame, DOMAINS, keys, where, prefix="ratio/")
    return _widen(frame, METRICS, keys, where, steps=steps)


def _widen(
    frame: "pd.DataFrame",
    columns: tuple[tuple[str, ...], tuple[str, ...]],
    keys: list[str],
    where: str,
    prefix: str = "",
    steps: Collection[str] = (),
) -> "pd.DataFrame":
    names, values = columns
    lower = {str(column).lower(): str(column) for column in frame.columns}
    parts = [lower[n] for n in names if n in lower and not _is_number(frame[lower[n]])]
    value = next((lower[n] for n in values if n in lower and _is_number(frame[lower[n]])), None)
    known = [key for key in keys if key in frame.columns and key not in (*parts, value)]
    if not parts or value is None or not known:
        return frame
    labels = prefix + frame[parts].astype(str).agg("/".join, axis="columns")
    runs = [key for key in known if key not in steps]
    repeats = frame[known].astype(str).duplicated().any() or (
        bool(runs) and labels.nunique() > 1 and frame[runs].astype(str).duplicated().any()
    )
    if (
        not repeats
        or labels.nunique() < 1
        or frame[known].astype(str).assign(label=labels).duplicated().any()
    ):
        return frame
    # runs are numbered, because pandas loses those with an empty cell (a blank step) in the columns that
    # tell them apart
    number = frame.groupby(known, sort=False, dropna=False).ngroup()
    error = next((lower[n] for n in STD_ERRORS if n in lower and columns is METRICS), None)
    error = error if error is not None and _is_number(frame[error]) else None
    amounts = [value] if error is None else [value, error]
    rows = frame.assign(label=labels, **{name: as_numbers(frame[name]) for name in amounts})
    rows["number"] = number
    wide = rows.pivot(index="number", columns="label", values=value)
    if error is not None:
        errors = rows.pivot(index="number", columns="label", values=error).add_suffix("_stderr")
        errors = errors.dropna(axis="columns", how="all")
        wide = wide.join(errors[errors.columns.difference(wide.columns, sort=False)])
    rest = rows.drop(columns=[*parts, *amounts, "label", "number"])
    rest = rest.groupby(number, sort=False).first()
    rest = rest[[*known, *rest.columns.difference(known, sort=False)]]
    log.info("%s: its rows are %s of runs (%s by %s); each is a column now.", where,
             "metrics" if columns is METRICS else "domains", value, " and ".join(parts))  # fmt: skip
    return rest.join(wide).reset_index(drop=True)


def _is_number(cells: "pd.Series[Any]") -> bool:
    return bool(as_numbers(cells).notna().any()) and bool(
        (as_numbers(cells).notna() | cells.isna()).all()
    )
