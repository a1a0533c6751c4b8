"""Names of columns: prefixes, and metrics with their directions."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mixopt.errors import TrialsError, did_you_mean
from mixopt.io.field_names import direction_of_name, is_metric_name, is_vague_name, plain_name
from mixopt.trial import Direction

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# names by priority
FIDELITY_COLUMNS = ("fidelity", "model_size", "kind")

STATE_COLUMNS = ("status", "state")  # in any case
FINISHED = {"finished", "done", "success", "succeeded", "complete", "completed", "terminated", "ok"}
"""Of MLflow, W&B, Optuna (COMPLETE), Ray Tune (TERMINATED) and schedulers."""

TRACKER_PREFIXES = ("params.", "config.", "metrics.", "summary.")  # of MLflow's and W&B's exports

RATIO_PREFIXES = ("ratio", "ratios", "mixture", "mix", "train", "domain_weights", "sources",
                  "weights", "proportion", "proportions")  # fmt: skip
METRIC_PREFIXES = ("score", "scores", "metric", "metrics", "eval", "val", "test")
SEPARATORS = "/._:"

SHOWN = 3  # number of columns that a log message names

REST = "*"
"""Key of the direction of all metrics that are not named."""
Better = Direction | Mapping[str, Direction] | None


def without_tracker(name: str) -> str:
    """Return a name without the prefix of a tracker (`params.`, `metrics.`, ...)."""
    prefix = next((prefix for prefix in TRACKER_PREFIXES if name.startswith(prefix)), "")
    return name.removeprefix(prefix)


def is_fidelity(name: str) -> bool:
    """Return whether a column is called as in `FIDELITY_COLUMNS`, without case and marks.

    Args:
        name: Of the column, perhaps with the prefix of a tracker (`config.Model Size`).
    """
    return plain_name(without_tracker(name)) in map(plain_name, FIDELITY_COLUMNS)


def split_prefix(name: str, prefixes: Sequence[str]) -> str | None:
    """Return what follows a prefix and a separator in a name without its tracker's prefix.

    Args:
        name: A column (`params.mixture.web`).
        prefixes: Prefixes to look for (`mixture`), by priority.

    Returns:
        The rest (`web`), or None if no prefix matches.
    """
    bare = without_tracker(name)
    for prefix in prefixes:
        rest = bare.removeprefix(prefix)
        if rest != bare and len(rest) > 1 and rest[0] in SEPARATORS:
            return rest[1:]
    return None


def strip_common_prefix(names: list[str]) -> list[str]:
    """Strip the common prefix of names.

    Args:
        names: Such as `train_the_pile_a` and `train_the_pile_b`.

    Returns:
        The names (`a`, `b`) after the last separator of the common prefix, in the same order.
    """
    if len(names) < 2:
        return names
    prefix = os.path.commonprefix(names)
    cut = max(prefix.rfind(mark) for mark in "_/.") + 1
    return [name[cut:] for name in names]


def drop_settings(scores: "pd.DataFrame", better: Better, where: str) -> "pd.DataFrame":
    """Drop columns that have one value in all runs and no metric's name, and log them.

    Trackers export settings (such as a batch size) beside metrics.

    Args:
        scores: One row per run (`n x m`).
        better: As for `read_trials`; a column that it names stays.
        where: Name of the table.
    """
    named = better if isinstance(better, Mapping) else {}
    settings = [
        str(column)
        for column in scores.columns
        if column not in named and not is_metric_name(str(column)) and len(scores) > 1
        and scores[column].notna().all() and scores[column].nunique() == 1
    ]  # fmt: skip
    if settings and len(settings) < len(scores.columns):
        log.info("%s: %s have one value in all runs and are taken for settings.",
                 where, ", ".join(settings))  # fmt: skip
        return scores.drop(columns=settings)
    return scores


def infer_directions(scores: "pd.DataFrame", better: Better, where: str) -> dict[str, Direction]:
    """Return the direction of each column, from `better` or else from its name.

    Args:
        scores: One row per run, one column per metric (`n x m`).
        better: As for `read_trials`.
        where: Name of the table.

    Raises:
        TrialsError: `better` is invalid, or lacks a column whose name is not well known.
    """
    columns = list(map(str, scores.columns))
    if better == "lower" or better == "higher":
        unknown = [column for column in columns if direction_of_name(column) is None]
        if unknown and len(unknown) < len(columns):
            log.info("%s: %s are taken as metrics too, %s is better; ignore= (--ignore) leaves a "
                     "column out.", where, ", ".join(unknown), better)  # fmt: skip
        return dict.fromkeys(columns, better)
    given = {} if better is None else better
    if not isinstance(given, Mapping) or any(v not in ("lower", "higher") for v in given.values()):
        raise TrialsError("better must be 'lower', 'higher', or one of them for each metric.")
    stripped = dict(zip(columns, strip_common_prefix(columns), strict=True))
    for name in given:
        if name != REST and name not in columns and name not in stripped.values():
            raise TrialsError(f"{where} has no metric {name!r}. {did_you_mean(name, columns)}")
    directions: dict[str, Direction] = {}
    guessed: dict[Direction, list[str]] = {"lower": [], "higher": []}
    for column, short in stripped.items():
        stated = {given[name] for name in (column, short) if name in given}
        if len(stated) > 1:
            raise TrialsError(
                f"better gives two directions for {column!r}, also as {short!r}; give one."
            )
        direction = stated.pop() if stated else given.get(REST) or direction_of_name(column)
        if direction is None:
            raise TrialsError(
                f"{where} does not say whether lower or higher {column!r} is better; pass "
                "better='lower', better='higher', or one of them by metric (--better on the "
                "shell), or ignore the column (ignore=, --ignore)."
            )
        if not {column, short, REST} & set(given):
            guessed[direction].append(column)
        directions[column] = direction
    for direction, names in guessed.items():
        if names:
            # a score may be of toxicity: all of these are named, before the others
            vague = [name for name in names if is_vague_name(name)]
            shown = [*vague, *(name for name in names if name not in vague)]
            shown = shown[: max(SHOWN, len(vague))]
            more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
            log.info(
                "%s: by their names, %s is better for %s%s; pass better= (--better on the shell) "
                "if that is wrong.", where, direction, ", ".join(shown), more,
            )  # fmt: skip
    return directions
