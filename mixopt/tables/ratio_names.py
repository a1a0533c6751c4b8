"""Find the ratio columns of a table that holds metrics too, by their names and values."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.io.field_names import COST_COLUMNS, is_metric_name
from mixopt.io.run_metadata import is_run_metadata
from mixopt.tables.columns import (
    FIDELITY_COLUMNS,
    RATIO_PREFIXES,
    SEPARATORS,
    TRACKER_PREFIXES,
    split_prefix,
    strip_common_prefix,
    without_tracker,
)
from mixopt.tables.numbers import as_numbers
from mixopt.tables.ratio_columns import are_ratios, search_columns, select_ratios, to_matrix
from mixopt.tables.ratio_search import TOLERANCE
from mixopt.tables.spreads import is_spread

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LOOSE_PREFIXES = ("train", "weights")
"""Those of them that metrics and settings have too."""
PREFIXES_BY_VALUE = ("weight", "w")
"""Prefixes of ratios where the values are ratios of one mixture; other things are called so too."""
RATIO_SUFFIXES = ("ratio", "weight", "proportion")
"""Ends of names (`web_ratio`), likewise by value."""


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
    if values is not None:
        for group in groups:
            ratios = select_ratios(values[list(group)], doubtful_columns(list(group)), where)
            if ratios is not None:
                return {column: group[column] for column in ratios}
        by_value = _find_by_value(columns, values, where)
        if by_value is not None:
            return by_value
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
    raise _unclear(where)


def _unclear(where: str) -> TrialsError:
    return TrialsError(
        f"{where}: no columns look like ratios (ratio/web, mixture.code, ...), and no set of columns, "
        "or more than one, sums to 1 in all runs; name them with domains= (--domains on the shell)."
    )


def _find_by_value(
    columns: Sequence[str], values: "pd.DataFrame", where: str
) -> dict[str, str] | None:
    """Return domain by column of the group of columns whose values are ratios, if any.

    Raises:
        TrialsError: Two groups of one size are, with other values, as those of two phases.
    """
    found: list[dict[str, str]] = []
    for group in _groups_by_value(columns):
        if len(group) < 2:
            continue
        ratios = select_ratios(values[list(group)], doubtful_columns(list(group)), where)
        if ratios is not None:
            found.append({column: group[column] for column in ratios})
    for other in found[1:]:
        first = to_matrix(values[list(found[0])])
        if len(other) == len(found[0]) and set(other) != set(found[0]):
            ranked = sorted((_place(domain, found[0]), column) for column, domain in other.items())
            second = to_matrix(values[[column for _, column in ranked]])
            if not np.allclose(first, second, atol=TOLERANCE, equal_nan=True):
                raise _unclear(where)
    return found[0] if found else None


def _place(domain: str, group: Mapping[str, str]) -> int:
    """Return the place of a domain in a group; the end if it is none of it."""
    domains = list(group.values())
    return domains.index(domain) if domain in domains else len(domains)


def _loose_columns(columns: Sequence[str]) -> list[str]:
    """Return columns with a prefix that metrics and settings have too."""
    return [c for c in columns if split_prefix(c, LOOSE_PREFIXES) is not None]


def _find_candidates(values: "pd.DataFrame") -> list[str]:
    """Return columns that may be ratios of any name: numbers that are neither metrics nor records."""
    columns = list(map(str, values.columns))
    known = {*doubtful_columns(columns)[-1], *COST_COLUMNS, *FIDELITY_COLUMNS}
    return [
        c for c in columns
        if c not in known and not is_spread(c, columns)
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
