"""Columns that say how sure a metric is: standard errors, spreads, intervals and counts of items."""

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mixopt.tables.columns import METRIC_PREFIXES, split_prefix

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

STD_ERROR = re.compile(
    r"^(?:se|sem|stderr|std_err|std_error)[/._:](?P<after>.+)$"
    r"|^(?P<before>.+?)(?:[/._:](?:se|sem|stderr|std_err|std_error)|_stderr,(?P<rest>.+))$"
)
"""`se/x`, `x_stderr`, `x/std_err`, and `acc_stderr,none` of lm-evaluation-harness."""

SPREAD = re.compile(
    r"^.+?[/._:](?:std|stdev|std_dev|var|variance|ci|ci_?95|ci_?95_?(?:lower|upper|low|high)"
    r"|ci_?(?:lower|upper|low|high|lo|hi|l|u))$"
)
"""`x_std`, `x/ci`: not used, because a table does not say whether over runs or over items."""
BESIDE = re.compile(r"^(?P<metric>.+)[/._:](?:n|count|n_samples|num_samples|sd|lower|upper)$")
"""`x_n`, `x_upper`: likewise, where `x` is a column too; other things end like that."""
MEAN = re.compile(r"[/._:]mean$")


def is_spread(name: str, columns: Sequence[str]) -> bool:
    """Return whether a column says how sure a metric is.

    Args:
        name: Of the column.
        columns: Of the table.
    """
    if STD_ERROR.match(name) or SPREAD.match(name):
        return True
    beside = BESIDE.match(name)
    return beside is not None and bool(_find_metrics(beside["metric"], name, columns))


def drop_spreads(values: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Drop columns that state the spread of a metric (`x_std`, `x/ci`, ...), and log them.

    Args:
        values: One row per run (`n x m`).
        where: Name of the table, for the log.
    """
    columns = list(map(str, values.columns))
    spreads = [c for c in columns if is_spread(c, columns)]
    if spreads:
        log.info("%s: %s are spreads, not metrics, and are left out.", where, ", ".join(spreads))
    return values.drop(columns=spreads)


def find_std_errors(columns: Sequence[str]) -> dict[str, str]:
    """Find the columns of standard errors.

    Args:
        columns: Columns of metrics and of standard errors.

    Returns:
        Column of the standard error by column of its metric (`x` or `x_mean`), where both exist.
    """
    found = {}
    for column in columns:
        match = STD_ERROR.match(column)
        if match is None:
            continue
        name = match["after"] or match["before"] + (f",{match['rest']}" if match["rest"] else "")
        same = _find_metrics(name, column, columns)
        if same:
            found[same[0]] = column
    return found


def _find_metrics(name: str, column: str, columns: Sequence[str]) -> list[str]:
    """Return the columns that have a metric's name, perhaps with a prefix; else its means (`x_mean`)."""
    others = [c for c in columns if c != column]
    same = [c for c in others if name in (c, split_prefix(c, METRIC_PREFIXES))]
    means = [c for c in others if MEAN.search(c)]
    return same or [
        c for c in means
        if name in (MEAN.sub("", c), split_prefix(MEAN.sub("", c), METRIC_PREFIXES))
    ]  # fmt: skip
