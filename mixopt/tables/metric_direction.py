"""Which way a metric is better: said by the user, or told from a well-known name, and said so."""

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from mixopt.errors import TrialsError, did_you_mean
from mixopt.tables.columns import strip_common_prefix
from mixopt.trials import Direction

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LOWER_WORDS = {"loss", "bpb", "ppl", "perplexity", "nll", "bits", "error", "entropy"}
SHOWN = 3
"""Columns that are named of those whose direction was guessed."""

HIGHER_WORDS = {"acc", "accuracy", "em", "f1", "pass@1", "score", "bleu", "rouge", "rougel"}


def drop_settings(
    scores: "pd.DataFrame", better: Direction | Mapping[str, Direction] | None, where: str
) -> "pd.DataFrame":
    """`scores` without the columns that hold one number for all runs and are called like no metric.

    Trackers export settings (a batch size, say) beside metrics; one that a run was told by name
    to be a metric stays.
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
        log.info("%s: %s hold the same number in all runs and are taken for settings.",
                 where, ", ".join(settings))  # fmt: skip
        return scores.drop(columns=settings)
    return scores


def tell_directions(
    scores: "pd.DataFrame", better: Direction | Mapping[str, Direction] | None, where: str
) -> dict[str, Direction]:
    """Direction of every column of `scores`.

    Raises:
        TrialsError: A column's direction is not given and cannot be told from its name.
    """
    columns = list(map(str, scores.columns))
    if better in ("lower", "higher"):
        odd = [column for column in columns if _direction_of_name(column) is None]
        if odd and len(odd) < len(columns):
            log.info("%s: %s are taken as metrics too, %s is better; ignore= (--ignore) leaves a "
                     "column out.", where, ", ".join(odd), better)  # fmt: skip
        return dict.fromkeys(columns, better)
    given = cast(Mapping[str, Direction], {} if better is None else better)
    if not isinstance(given, Mapping) or set(given.values()) - {"lower", "higher"}:
        raise TrialsError("better must be 'lower', 'higher', or one of them for each metric.")
    stripped = dict(zip(columns, strip_common_prefix(columns), strict=True))
    for name in given:
        if name not in columns and name not in stripped.values():
            raise TrialsError(f"{where} has no metric {name!r}. {did_you_mean(name, columns)}")
    for column, short in stripped.items():
        if column != short and given.get(column, given.get(short)) != given.get(
            short, given.get(column)
        ):
            raise TrialsError(f"better says two things of {column!r}, also as {short!r}; say one.")
    told: dict[str, Direction] = {}
    guessed: dict[str, list[str]] = {"lower": [], "higher": []}
    for column in columns:
        direction = given.get(column) or given.get(stripped[column])
        if direction is None and (direction := _direction_of_name(column)):
            guessed[direction].append(column)
        if direction is None:
            raise TrialsError(
                f"{where} does not say whether lower or higher {column!r} is better; pass "
                "better='lower', better='higher', or one of them by metric (--better on the "
                "shell), or ignore the column (ignore=, --ignore)."
            )
        told[column] = direction
    for way, names in guessed.items():
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            log.info(
                "%s: by their names, %s is better for %s%s; pass better= (--better on the shell) "
                "where that is wrong.", where, way, ", ".join(names[:SHOWN]), more,
            )  # fmt: skip
    return told


def _direction_of_name(name: str) -> Direction | None:
    words = set(re.split(r"[^a-z0-9@]+|_", name.lower()))
    if words & LOWER_WORDS:
        return "lower"
    return "higher" if words & HIGHER_WORDS else None
