"""One table with ratios and metrics, as trackers export it: which columns are what.

Shapes: `n` runs, `d` domains, `m` metrics.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mixopt.errors import TrialsError, did_you_mean
from mixopt.io.field_names import COST_COLUMNS
from mixopt.io.run_metadata import is_run_metadata
from mixopt.tables.columns import (
    FIDELITY_COLUMNS,
    METRIC_PREFIXES,
    RATIO_PREFIXES,
    split_prefix,
    without_tracker,
)
from mixopt.tables.frame import check_ids
from mixopt.tables.numbers import as_numbers, fill_unused, require_numbers
from mixopt.tables.ratio_columns import find_total
from mixopt.tables.ratio_names import find_ratio_columns
from mixopt.tables.run_records import drop_unfinished, is_bool
from mixopt.tables.spreads import find_std_errors

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def split_runs(
    frame: "pd.DataFrame",
    where: str,
    domains: Sequence[str] | None,
    chosen: Sequence[str] | None = None,
    *,
    counts: bool = False,
) -> tuple["pd.DataFrame", "pd.DataFrame", dict[str, str]]:
    """Return the mixtures and the scores of one table, without unfinished runs.

    Args:
        frame: The table, its index the runs' ids.
        where: Name of the table, for messages.
        domains: Ratio columns; None takes those that look like ratios.
        chosen: Columns that are metrics; None takes all columns of numbers that may be.
        counts: Whether ratios are token counts or percentages.

    Returns:
        Ratios (`n x d`), scores with their standard errors, cost and fidelity, and the name of each
        column of scores by the column's own name.

    Raises:
        TrialsError: An id repeats, no run is finished, a ratio is no number, or a chosen metric is
            missing or has several columns.
    """
    frame = drop_unfinished(frame, where)
    check_ids(frame, where, frame, where)
    frame.columns = frame.columns.map(str)
    ratio_columns = find_ratio_columns(list(frame.columns), domains, frame, where)
    mixtures = require_numbers(frame[list(ratio_columns)], where).rename(columns=ratio_columns)
    total = find_total(mixtures, counts=True) if counts and domains is None else None
    if total is not None:
        log.info("%s: %r is the sum of the other columns and is left out.", where, total)
        mixtures = mixtures.drop(columns=total)
    without = mixtures.isna().all(axis=1) | (mixtures.fillna(0.0) == 0).all(axis=1)
    if without.any() and not without.all():
        log.warning(
            "%s: %d runs without ratios are left out (%s, ...), such as the parent of a sweep.",
            where, int(without.sum()), mixtures.index[without.to_numpy()][0],
        )  # fmt: skip
        frame, mixtures = frame[~without.to_numpy()], mixtures[~without.to_numpy()]
    mixtures = fill_unused(mixtures, where)
    rest = frame.drop(columns=list(ratio_columns))
    found = {column: _score_name(column, rest[column]) for column in rest.columns}
    kept = {column: name for column, name in found.items() if name is not None}
    if chosen is not None:
        kept = _choose_metrics(list(rest.columns), kept, chosen, where)
    names = list(kept.values())
    kept = {c: name if names.count(name) == 1 else c for c, name in kept.items()}
    dropped = [c for c in rest.columns if c not in kept]
    if dropped:
        log.info("%s: %d columns without numbers or without a metric are left out (%s).",
                 where, len(dropped), ", ".join(dropped[:5]))  # fmt: skip
    return mixtures, rest[list(kept)].rename(columns=kept), kept


def _choose_metrics(
    columns: Sequence[str], found: Mapping[str, str], chosen: Sequence[str], where: str
) -> dict[str, str]:
    """Return name by column of the chosen metrics, their standard errors, cost and fidelity."""
    picked: dict[str, str] = {}
    for name in chosen:
        matching = [c for c in columns if name == c] or [c for c in found if found[c] == name]
        if not matching:
            raise TrialsError(f"{where} has no metric {name!r}. {did_you_mean(name, columns)}")
        if len(matching) > 1:
            raise TrialsError(
                f"{where} has several metrics {name!r} ({', '.join(matching)}); name one of "
                "these columns."
            )
        picked[matching[0]] = name
    names = {column: found.get(column, column) for column in columns}
    errors = find_std_errors(columns)
    others = [errors[column] for column in picked if column in errors]
    others += [c for c, name in names.items() if name in (*COST_COLUMNS, *FIDELITY_COLUMNS)]
    return {**picked, **{column: names[column] for column in others if column not in picked}}


def _score_name(column: str, cells: "pd.Series[float]") -> str | None:
    """Return the name of a metric, cost or fidelity column without prefixes; None for others."""
    bare = without_tracker(column)
    if bare in (*COST_COLUMNS, *FIDELITY_COLUMNS):
        return split_prefix(column, METRIC_PREFIXES) or bare
    is_known = split_prefix(column, RATIO_PREFIXES) is not None or is_run_metadata(bare)
    is_setting = column.startswith(("config.", "params.")) or bare.startswith(("weight/", "_wandb"))
    if is_known or is_setting or not _is_numeric(cells):
        return None
    return split_prefix(column, METRIC_PREFIXES) or bare


def _is_numeric(column: "pd.Series[float]") -> bool:
    if is_bool(column):
        return False
    # a word among numbers ("diverged") must raise an error later, not drop the metric
    numbers = as_numbers(column).notna().sum()
    return bool(numbers) and bool(numbers >= column.notna().sum() / 2)
