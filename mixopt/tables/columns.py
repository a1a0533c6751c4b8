"""Classify columns by name: run id, ratio, metric, standard error, cost or fidelity."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mixopt.errors import TrialsError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

ID_COLUMNS = ("run_id", "run", "id", "trial", "name", "index", "ID", "Name")
"""Names of the id column, by priority."""

COST_COLUMNS = ("cost", "gpu_hours", "flops", "tokens")
"""Names of the cost column, by priority."""

FIDELITY_COLUMNS = ("fidelity", "model_size", "kind")
"""Names of the fidelity column, by priority."""

BOOKKEEPING = (
    "round", "seed", "step", "_step", "epoch",
    "_runtime", "_timestamp", "_wandb", "Runtime", "Created", "Updated", "End Time", "Start Time",
    "Duration", "GPU Count",
)  # fmt: skip
"""Numeric columns of mixopt, MLflow and W&B that are not metrics."""

STATE_COLUMNS = ("status", "State", "state")
FINISHED = {"finished", "done", "success", "completed"}

TRACKER_PREFIXES = ("params.", "config.", "metrics.", "summary.")
"""Prefixes that MLflow and W&B put before the user's own names."""

RATIO_PREFIXES = (
    "ratio", "ratios", "mixture", "mix", "train", "domain_weights", "sources", "weights",
)  # fmt: skip
METRIC_PREFIXES = ("score", "scores", "metric", "metrics", "eval", "val", "test")
SEPARATORS = "/._:"

STD_ERROR = re.compile(
    r"^(?:se|stderr|std_err|std_error)[/._:](?P<after>.+)$"
    r"|^(?P<before>.+?)(?:[/._:](?:se|stderr|std_err|std_error)|_stderr,(?P<rest>.+))$"
)
"""`se/x`, `x_stderr`, `x/std_err`, and `acc_stderr,none` of lm-evaluation-harness."""

SPREAD = re.compile(r"^.+[/._:](?:std|stdev|std_dev|variance|ci|ci95|ci_low|ci_high)$")
"""`x_std`, `x/ci`: not used, because a table does not say whether over runs or over items."""


def without_tracker(name: str) -> str:
    """Return a name without the prefix of a tracker (`params.`, `metrics.`, ...)."""
    for prefix in TRACKER_PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def split_prefix(name: str, prefixes: Sequence[str]) -> str | None:
    """Return what follows one of `prefixes` and a separator in `name`, or None."""
    bare = without_tracker(name)
    for prefix in prefixes:
        if (
            bare.startswith(prefix)
            and len(bare) > len(prefix) + 1
            and bare[len(prefix)] in SEPARATORS
        ):
            return bare[len(prefix) + 1 :]
    return None


def find_ratio_columns(columns: Sequence[str], domains: Sequence[str] | None) -> dict[str, str]:
    """Find the ratio columns of a table that holds metrics too.

    Args:
        columns: All columns of the table.
        domains: Domains to look for; None takes the columns with one of `RATIO_PREFIXES`.

    Returns:
        Domain by column.

    Raises:
        TrialsError: No columns look like ratios, or a domain of `domains` has no column.
    """
    if domains is not None:
        return _find_domains(columns, domains)
    for prefix in RATIO_PREFIXES:
        for tracker in ("", *TRACKER_PREFIXES):
            found = _with_prefix(columns, tracker, prefix)
            if len(found) > 1:
                return {column: domain for domain, column in found.items()}
    raise TrialsError(
        "No columns of the table look like ratios (ratio/web, mixture.code, ...); name them with "
        "domains=."
    )


def _with_prefix(columns: Sequence[str], tracker: str, prefix: str) -> dict[str, str]:
    """Return the columns that start with exactly this tracker's and ratio prefix, by domain."""
    found = {}
    for column in columns:
        own = column.removesuffix(without_tracker(column))
        name = split_prefix(column, (prefix,)) if own == tracker else None
        if name is not None:
            found[name] = column
    return found


def _find_domains(columns: Sequence[str], domains: Sequence[str]) -> dict[str, str]:
    """Return domain by column: a column of that name, or one with a prefix that all others share."""
    found = {domain: domain for domain in domains if domain in columns}
    missing = [domain for domain in domains if domain not in columns]
    groups = [_with_prefix(columns, tracker, prefix)
              for prefix in RATIO_PREFIXES for tracker in ("", *TRACKER_PREFIXES)]  # fmt: skip
    groups.append({without_tracker(column): column for column in columns})
    group = next((group for group in groups if all(domain in group for domain in missing)), {})
    for domain in missing:
        if domain not in group:
            raise TrialsError(
                f"No column holds the ratios of {domain!r}. {did_you_mean(domain, list(columns))}"
            )
        found[group[domain]] = domain
    return dict(sorted(found.items(), key=lambda item: domains.index(item[1])))


def drop_spreads(values: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Drop columns that state the spread of a metric (`x_std`, `x/ci`, ...), and log them."""
    columns = [str(column) for column in values.columns]
    spreads = [c for c in columns if STD_ERROR.match(c) or SPREAD.match(c)]
    if spreads:
        log.info("%s: %s are spreads, not metrics, and are left out.", where, ", ".join(spreads))
    return values.drop(columns=spreads)


def find_std_errors(columns: Sequence[str]) -> dict[str, str]:
    """Return the column of the standard error by the column of its metric, where both exist."""
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
    """Return names without their common prefix, up to a separator (`train_the_pile_`)."""
    if len(names) < 2:
        return names
    prefix = os.path.commonprefix(names)
    cut = max(prefix.rfind(mark) for mark in "_/.") + 1
    return [name[cut:] for name in names]


def capability_of(name: str, capabilities: Mapping[str, Sequence[str]]) -> str:
    """Return the capability that lists a metric, or `all`."""
    return next((key for key, members in capabilities.items() if name in members), "all")
