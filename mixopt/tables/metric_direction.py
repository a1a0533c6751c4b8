"""Decide whether lower or higher is better for each metric: as given, or from a well-known name."""

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mixopt.errors import TrialsError, did_you_mean
from mixopt.tables.columns import strip_common_prefix
from mixopt.trials import Direction

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LOWER_WORDS = {"loss", "bpb", "ppl", "perplexity", "nll", "bits", "error", "entropy"}
HIGHER_WORDS = {"acc", "accuracy", "em", "f1", "pass@1", "score", "bleu", "rouge", "rougel"}
SHOWN = 3
"""Number of columns that a log message names."""

Better = Direction | Mapping[str, Direction] | None


def drop_settings(scores: "pd.DataFrame", better: Better, where: str) -> "pd.DataFrame":
    """Drop columns that have one value in all runs and no metric's name, and log them.

    Trackers export settings (such as a batch size) beside metrics. A column that `better` names
    stays.

    Args:
        scores: One row per run.
        better: As for `read_trials`.
        where: Name of the table.
    """
    named = better if isinstance(better, Mapping) else {}
    settings = [
        str(column)
        for column in scores.columns
        if column not in named
        and _direction_of_name(str(column)) is None
        and len(scores) > 1
        and scores[column].notna().all()
        and scores[column].nunique() == 1
    ]
    if settings and len(settings) < len(scores.columns):
        log.info("%s: %s have one value in all runs and are taken for settings.",
                 where, ", ".join(settings))  # fmt: skip
        return scores.drop(columns=settings)
    return scores


def infer_directions(scores: "pd.DataFrame", better: Better, where: str) -> dict[str, Direction]:
    """Return the direction of each column, from `better` or else from its name.

    Args:
        scores: One row per run, one column per metric.
        better: As for `read_trials`.
        where: Name of the table.

    Raises:
        TrialsError: `better` is invalid, or lacks a column whose name is not well known.
    """
    columns = list(map(str, scores.columns))
    if better == "lower" or better == "higher":
        unknown = [column for column in columns if _direction_of_name(column) is None]
        if unknown and len(unknown) < len(columns):
            log.info("%s: %s are taken as metrics too, %s is better; ignore= (--ignore) leaves a "
                     "column out.", where, ", ".join(unknown), better)  # fmt: skip
        return dict.fromkeys(columns, better)
    given = {} if better is None else better
    if not isinstance(given, Mapping) or any(
        value not in ("lower", "higher") for value in given.values()
    ):
        raise TrialsError("better must be 'lower', 'higher', or one of them for each metric.")
    stripped = dict(zip(columns, strip_common_prefix(columns), strict=True))
    for name in given:
        if name not in columns and name not in stripped.values():
            raise TrialsError(f"{where} has no metric {name!r}. {did_you_mean(name, columns)}")
    directions: dict[str, Direction] = {}
    guessed: dict[Direction, list[str]] = {"lower": [], "higher": []}
    for column, short in stripped.items():
        stated = {given[name] for name in (column, short) if name in given}
        if len(stated) > 1:
            raise TrialsError(
                f"better gives two directions for {column!r}, also as {short!r}; give one."
            )
        direction = stated.pop() if stated else _direction_of_name(column)
        if direction is None:
            raise TrialsError(
                f"{where} does not say whether lower or higher {column!r} is better; pass "
                "better='lower', better='higher', or one of them by metric (--better on the "
                "shell), or ignore the column (ignore=, --ignore)."
            )
        if column not in given and short not in given:
            guessed[direction].append(column)
        directions[column] = direction
    for direction, names in guessed.items():
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            log.info(
                "%s: by their names, %s is better for %s%s; pass better= (--better on the shell) "
                "if that is wrong.", where, direction, ", ".join(names[:SHOWN]), more,
            )  # fmt: skip
    return directions


def _direction_of_name(name: str) -> Direction | None:
    words = set(re.split(r"[^a-z0-9@]+|_", name.lower()))
    if words & LOWER_WORDS:
        return "lower"
    return "higher" if words & HIGHER_WORDS else None
