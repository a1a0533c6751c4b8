"""What a column is: a run's id, a ratio, a metric, its standard error, or a cost."""

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
"""Columns that name a run, in the order they are looked for."""

COST_COLUMNS = ("cost", "gpu_hours", "flops", "tokens")
"""What a run cost, in the order they are looked for."""

LEVEL_COLUMNS = ("fidelity", "model_size", "kind")
"""What was trained or scored, in the order they are looked for."""

BOOKKEEPING = (
    "round", "seed", "step", "_step", "epoch",
    "_runtime", "_timestamp", "_wandb", "Runtime", "Created", "Updated", "End Time", "Start Time",
    "Duration", "GPU Count",
)  # fmt: skip
"""Numbers of a run that are no metrics: its own, MLflow's and W&B's."""

STATE_COLUMNS = ("status", "State", "state")
FINISHED = {"finished", "done", "success", "completed"}

TRACKER_PREFIXES = ("params.", "config.", "metrics.", "summary.")
"""Put before names by MLflow and by W&B."""

RATIO_PREFIXES = (
    "ratio",
    "ratios",
    "mixture",
    "mix",
    "train",
    "domain_weights",
    "sources",
    "weights",
)
METRIC_PREFIXES = ("score", "scores", "metric", "metrics", "eval", "val", "test")
MARKS = "/._:"

STD_ERROR = re.compile(
    r"^(?:se|stderr|std_err|std_error)[/._:](?P<after>.+)$"
    r"|^(?P<before>.+?)(?:[/._:](?:se|stderr|std_err|std_error)|_stderr,(?P<rest>.+))$"
)
"""`se/x`, `x_stderr`, `x/std_err`, and lm-evaluation-harness' `acc_stderr,none`."""


SPREAD = re.compile(r"^.+[/._:](?:std|stdev|std_dev|variance|ci|ci95|ci_low|ci_high)$")
"""`x_std`, `x/ci`: of runs or items, which a table does not say."""


def without_tracker(name: str) -> str:
    """The name that the user gave, without what a tracker puts before it."""
    for prefix in TRACKER_PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def split_prefix(name: str, prefixes: Sequence[str]) -> str | None:
    """The name behind one of `prefixes` and a separator, or nothing."""
    bare = without_tracker(name)
    for prefix in prefixes:
        if bare.startswith(prefix) and len(bare) > len(prefix) + 1 and bare[len(prefix)] in MARKS:
            return bare[len(prefix) + 1 :]
    return None


def find_ratio_columns(columns: Sequence[str], domains: Sequence[str] | None) -> dict[str, str]:
    """Domain by column of a table that holds more than ratios.

    Raises:
        TrialsError: No columns look like ratios, or a domain that was named has none.
    """
    if domains is not None:
        return _find_named(columns, domains)
    for prefix in RATIO_PREFIXES:
        for tracker in ("", *TRACKER_PREFIXES):
            named = _columns_behind(columns, tracker, prefix)
            if len(named) > 1:
                return {column: name for name, column in named.items()}
    raise TrialsError(
        "No columns of the table look like ratios (ratio/web, mixture.code, ...); name them with "
        "domains=."
    )


def _columns_behind(columns: Sequence[str], tracker: str, prefix: str) -> dict[str, str]:
    """Column by the name behind what a tracker puts first and one of `RATIO_PREFIXES`."""
    found = {}
    for column in columns:
        own = column.removesuffix(without_tracker(column))
        name = split_prefix(column, (prefix,)) if own == tracker else None
        if name is not None:
            found[name] = column
    return found


def _find_named(columns: Sequence[str], domains: Sequence[str]) -> dict[str, str]:
    """Domain by column: the first kind of column that all of them have, else each one's own."""
    left = [domain for domain in domains if domain not in columns]
    found = {domain: domain for domain in domains if domain in columns}
    kinds = [_columns_behind(columns, tracker, prefix)
             for prefix in RATIO_PREFIXES for tracker in ("", *TRACKER_PREFIXES)]  # fmt: skip
    kinds.append({without_tracker(column): column for column in columns})
    kind = next((kind for kind in kinds if all(domain in kind for domain in left)), {})
    for domain in left:
        if domain not in kind:
            raise TrialsError(
                f"No column holds the ratios of {domain!r}. {did_you_mean(domain, list(columns))}"
            )
        found[kind[domain]] = domain
    order = {domain: place for place, domain in enumerate(domains)}
    return dict(sorted(found.items(), key=lambda item: order[item[1]]))


def drop_spreads(values: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """`values` without what tells how wide a metric is and is no metric (`x_std`, `x/ci`, ...)."""
    columns = [str(column) for column in values.columns]
    spreads = [c for c in columns if STD_ERROR.match(c) or SPREAD.match(c)]
    if spreads:
        log.info("%s: %s are spreads and no metrics, and are left out.", where, ", ".join(spreads))
    return values.drop(columns=spreads)


def find_std_errors(columns: Sequence[str]) -> dict[str, str]:
    """Column of a standard error by the metric's column, where both are there."""
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
    """Names without the part that all share, cut after a separator (`train_the_pile_`)."""
    if len(names) < 2:
        return names
    prefix = os.path.commonprefix(names)
    cut = max(prefix.rfind(mark) for mark in "_/.") + 1
    return [name[cut:] for name in names]


def capability_of(name: str, capabilities: Mapping[str, Sequence[str]]) -> str:
    """The capability that lists a metric, or `all`."""
    for capability, members in capabilities.items():
        if name in members:
            return capability
    return "all"
