"""Classify columns by name: ratio, metric and its direction, standard error, cost or fidelity."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mixopt.errors import TrialsError, did_you_mean
from mixopt.io.field_names import COST_COLUMNS, direction_of_name, is_metric_name, plain_name
from mixopt.io.run_metadata import is_run_metadata
from mixopt.tables.numbers import as_numbers
from mixopt.tables.ratio_columns import are_ratios, search_columns, select_ratios
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
LOOSE_PREFIXES = ("train", "weights")
"""Those of them that metrics and settings have too."""
PREFIXES_BY_VALUE = ("weight", "w")
"""Prefixes of ratios where the values are ratios of one mixture; other things are called so too."""
RATIO_SUFFIXES = ("ratio", "weight", "proportion")
"""Ends of names (`web_ratio`), likewise by value."""
METRIC_PREFIXES = ("score", "scores", "metric", "metrics", "eval", "val", "test")
SEPARATORS = "/._:"

STD_ERROR = re.compile(
    r"^(?:se|stderr|std_err|std_error)[/._:](?P<after>.+)$"
    r"|^(?P<before>.+?)(?:[/._:](?:se|stderr|std_err|std_error)|_stderr,(?P<rest>.+))$"
)
"""`se/x`, `x_stderr`, `x/std_err`, and `acc_stderr,none` of lm-evaluation-harness."""

SPREAD = re.compile(r"^.+[/._:](?:std|stdev|std_dev|variance|ci|ci95|ci_low|ci_high)$")
"""`x_std`, `x/ci`: not used, because a table does not say whether over runs or over items."""

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


def find_ratio_columns(
    columns: Sequence[str],
    domains: Sequence[str] | None,
    values: "pd.DataFrame | None" = None,
    where: str = "The table",
) -> dict[str, str]:
    """Find the ratio columns of a table that holds metrics too.

    Args:
        columns: All columns of the table.
        domains: Domains to look for; None takes the columns with one of `RATIO_PREFIXES`.
        values: Their cells (`n x columns`): of several prefixes, the first whose columns are ratios of
            one mixture counts; if none is, or without cells, the first prefix.
        where: Name of the table, for the log.

    Returns:
        Domain by column.

    Raises:
        TrialsError: No columns look like ratios, or a domain of `domains` has no column.
    """
    if domains is not None:
        return _find_domains(columns, domains, values, where)
    groups = [{column: domain for domain, column in _with_prefix(columns, tracker, prefix).items()}
              for prefix in RATIO_PREFIXES for tracker in ("", *TRACKER_PREFIXES)]  # fmt: skip
    groups = [group for group in groups if len(group) > 1]
    for group in (*groups, *_groups_by_value(columns)):
        if values is None or len(group) < 2:
            continue
        ratios = select_ratios(values[list(group)], doubtful_columns(list(group)), where)
        if ratios is not None:
            return {column: group[column] for column in ratios}
    stated = [group for group in groups if not set(group) & set(_loose_columns(columns))]
    if values is not None and not stated:
        candidates = _find_candidates(values)
        ratios = search_columns(values[candidates], where)
        if ratios is not None:
            return dict(
                zip(ratios, strip_common_prefix(list(map(without_tracker, ratios))), strict=True)
            )
    for group in groups:
        others = doubtful_columns(list(group))[-1]
        kept = {column: domain for column, domain in group.items() if column not in others}
        if len(kept) > 1:
            return kept
    raise TrialsError(
        f"{where}: no columns look like ratios (ratio/web, mixture.code, ...), and no set of columns, "
        "or more than one, sums to 1 in all runs; name them with domains= (--domains on the shell)."
    )


def _loose_columns(columns: Sequence[str]) -> list[str]:
    """Return columns with a prefix that metrics and settings have too."""
    return [c for c in columns if split_prefix(c, LOOSE_PREFIXES) is not None]


def _find_candidates(values: "pd.DataFrame") -> list[str]:
    """Return columns that may be ratios of any name: numbers that are neither metrics nor records."""
    columns = list(map(str, values.columns))
    known = {*doubtful_columns(columns)[-1], *COST_COLUMNS, *FIDELITY_COLUMNS}
    return [
        c for c in columns
        if c not in known and not STD_ERROR.match(c) and not SPREAD.match(c)
        and as_numbers(values[c]).notna().any() and values[c].dtype.kind != "b"
    ]  # fmt: skip


def doubtful_columns(columns: Sequence[str]) -> list[set[str]]:
    """Return columns that are hardly domains: metadata of runs; these and what is named like a metric.

    Args:
        columns: Candidates for ratios.
    """
    records = {column for column in columns if is_run_metadata(without_tracker(column))}
    return [records, records | {c for c in columns if is_metric_name(c)}]


def _with_prefix(columns: Sequence[str], tracker: str, prefix: str) -> dict[str, str]:
    found = {}
    for column in columns:
        own = column.removesuffix(without_tracker(column))
        name = split_prefix(column, (prefix,)) if own == tracker else None
        if name is not None:
            found[name] = column
    return found


def _groups_by_value(columns: Sequence[str]) -> list[dict[str, str]]:
    """Return groups of domain by column that are ratios if their values are."""
    groups = [{column: domain for domain, column in _with_prefix(columns, tracker, prefix).items()}
              for prefix in PREFIXES_BY_VALUE for tracker in ("", *TRACKER_PREFIXES)]  # fmt: skip
    for suffix in RATIO_SUFFIXES:
        ends = tuple(f"{mark}{suffix}" for mark in SEPARATORS)
        groups.append({column: without_tracker(column)[: -len(suffix) - 1]
                       for column in columns if column.endswith(ends)})  # fmt: skip
    others: dict[str, dict[str, str]] = {}  # any other prefix (`data_mix/web`)
    for column in columns:
        prefix, mark, domain = column.rpartition("/")
        if mark and domain and not is_run_metadata(without_tracker(column)):
            others.setdefault(prefix, {})[column] = domain
    return [*groups, *others.values()]


def _find_domains(
    columns: Sequence[str], domains: Sequence[str], values: "pd.DataFrame | None", where: str
) -> dict[str, str]:
    """Return domain by column: a column of that name, or one with a prefix that all others share.

    Columns with a prefix go before those of the bare names (losses, say) if they alone are ratios.
    """
    found = {domain: domain for domain in domains if domain in columns}
    missing = [domain for domain in domains if domain not in columns]
    groups = [_with_prefix(columns, tracker, prefix)
              for prefix in RATIO_PREFIXES for tracker in ("", *TRACKER_PREFIXES)]  # fmt: skip
    groups.append({without_tracker(column): column for column in columns})
    groups += [{domain: column for column, domain in group.items()}
               for group in _groups_by_value(columns)]  # fmt: skip
    if values is not None and not missing and not are_ratios(values[list(domains)]):
        whole = [[group[domain] for domain in domains] for group in groups
                 if all(domain in group for domain in domains)]  # fmt: skip
        stated = next((group for group in whole if are_ratios(values[group])), None)
        if stated is not None:
            log.info("%s: %s are ratios and are taken; the columns %s are not.",
                     where, ", ".join(stated), ", ".join(domains))  # fmt: skip
            return dict(zip(stated, domains, strict=True))
    group = next((group for group in groups if all(domain in group for domain in missing)), {})
    for domain in missing:
        if domain not in group:
            raise TrialsError(
                f"No column holds the ratios of {domain!r}. {did_you_mean(domain, list(columns))}"
            )
        found[group[domain]] = domain
    return dict(sorted(found.items(), key=lambda item: domains.index(item[1])))


def drop_spreads(values: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Drop columns that state the spread of a metric (`x_std`, `x/ci`, ...), and log them.

    Args:
        values: One row per run (`n x m`).
        where: Name of the table, for the log.
    """
    spreads = [c for c in map(str, values.columns) if STD_ERROR.match(c) or SPREAD.match(c)]
    if spreads:
        log.info("%s: %s are spreads, not metrics, and are left out.", where, ", ".join(spreads))
    return values.drop(columns=spreads)


def find_std_errors(columns: Sequence[str]) -> dict[str, str]:
    """Find the columns of standard errors.

    Args:
        columns: Columns of metrics and of standard errors.

    Returns:
        Column of the standard error by column of its metric, where both exist.
    """
    found = {}
    for column in columns:
        match = STD_ERROR.match(column)
        if match is None:
            continue
        name = match["after"] or match["before"] + (f",{match['rest']}" if match["rest"] else "")
        same = [c for c in columns if c != column and name in (c, split_prefix(c, METRIC_PREFIXES))]
        if same:
            found[same[0]] = column
    return found


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
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            log.info(
                "%s: by their names, %s is better for %s%s; pass better= (--better on the shell) "
                "if that is wrong.", where, direction, ", ".join(names[:SHOWN]), more,
            )  # fmt: skip
    return directions
