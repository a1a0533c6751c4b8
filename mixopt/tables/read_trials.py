"""Read trials from the tables of other tools: RegMix, Olmix, MLflow, W&B, or your own."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.io.field_names import COST_COLUMNS
from mixopt.io.model_sizes import PLAIN_FROM, parse_size, show_size
from mixopt.io.parsing import show
from mixopt.mixture import Mixture
from mixopt.tables.columns import (
    FIDELITY_COLUMNS,
    Better,
    drop_settings,
    infer_directions,
    strip_common_prefix,
)
from mixopt.tables.frame import ReadTable, join, read_table
from mixopt.tables.load_table import LoadedTable, load_table
from mixopt.tables.metric_roles import make_metrics
from mixopt.tables.numbers import (
    drop_infinite,
    fill_unused,
    normalize_rows,
    require_numbers,
)
from mixopt.tables.one_table import split_runs
from mixopt.tables.pair_ids import choose_pair_ids, require_same_rows
from mixopt.tables.ratio_columns import find_total, select_ratios
from mixopt.tables.ratio_names import doubtful_columns
from mixopt.tables.repeats import drop_runs
from mixopt.tables.run_records import drop_run_metadata, drop_unfinished
from mixopt.tables.spreads import drop_spreads, find_std_errors
from mixopt.trial import KINDS, Score, Trial
from mixopt.trials import Trials

if TYPE_CHECKING:
    import pandas as pd

    Table: TypeAlias = str | os.PathLike[str] | pd.DataFrame | None

log = logging.getLogger(__name__)


def read_trials(
    *,
    ratios: "Table" = None,
    metrics: "Table | Sequence[str]" = None,
    runs: "Table" = None,
    domains: Sequence[str] | None = None,
    better: Better = None,
    holdout: Sequence[str] = (),
    capabilities: Mapping[str, Sequence[str]] | None = None,
    counts: bool = False,
    ignore: Sequence[str] = (),
    id_column: str | None = None,
    fidelities: Sequence[str] | None = None,
    step: float | None = None,
) -> Trials:
    """Read trials from a table of mixtures and a table of metrics, or from one table with both.

    A table is a CSV, TSV, Parquet, JSON or JSON lines file or a data frame, with one row per run and
    a column of run ids; a frame's index counts as columns. Besides metrics, it may have their standard
    errors (`x_stderr`, `se/x`), the cost of each run (`cost`, `gpu_hours`, `flops`, `tokens`) and its
    fidelity (`fidelity`, `model_size`, `kind`, or what plainly is a model's size in `model`,
    `n_params`, ...).

    Args:
        ratios: Table with one column per domain (`n x d`); names may be hierarchical (`web:science`).
        metrics: Table of the same runs with one column per metric (`n x m`); or, with `runs`, the names
            of its columns that are metrics.
        runs: Instead of these two, one table with both, as trackers export it: ratio columns are
            called like `ratio/web` or `params.mixture.web`, or are named by `domains`.
        domains: Ratio columns; None takes all of `ratios`, or those of `runs` that look like ratios.
        better: `lower` or `higher`, for all metrics or by metric (`*` for those that are not named). A
            direction that is not given is inferred from well-known names (loss, bpb, acc, ...), which
            is logged.
        holdout: Metrics that are reported but not used to choose mixtures.
        capabilities: Metrics by capability; all other metrics belong to the capability `all`.
        counts: Whether ratios are token counts or percentages, to be normalized.
        ignore: Columns that are neither ratios nor metrics.
        id_column: Column that names the runs; None takes `run_id`, `run`, `id`, ...
        fidelities: Fidelities of the runs, to find their column where its name does not tell it.
        step: Where a table has rows of several steps of a run, the one to take; the last if None.

    Returns:
        One trial per run, seed and fidelity.

    Raises:
        TrialsError: An argument is invalid, ids repeat or do not match, a cell is not a number, runs
            are of several models that nothing orders, or the direction of a metric is unknown.
        MixtureError: A row has a negative ratio, or does not sum to one within 0.01.
    """
    chosen = None if runs is None or _is_table(metrics) else _as_names("metrics", metrics)
    table = None if chosen is not None else metrics
    if (runs is None) == (ratios is None) or (ratios is None) != (table is None):
        raise TrialsError(
            "Give either ratios= and metrics=, or runs= with both in one table (--ratios and --metrics, "
            "or --runs, on the shell)."
        )
    if not isinstance(capabilities, Mapping | None):
        raise TrialsError(f"capabilities is {show(capabilities)}; give metrics by capability.")
    members = {name: _as_names(name, given) for name, given in (capabilities or {}).items()}
    # once: a generator would be empty at the second look
    holdout, ignore = _as_names("holdout", holdout), _as_names("ignore", ignore)
    domains = None if domains is None else _as_names("domains", domains)
    fidelities = None if fidelities is None else _as_names("fidelities", fidelities)
    untouched = (*ignore, *(domains or ()))

    def load(given: object, what: str) -> LoadedTable:
        return load_table(cast("str", given), what, id_column, untouched)

    def read(loaded: LoadedTable, what: str, ids: str | None = id_column) -> ReadTable:
        return read_table(
            loaded, what, ids, fidelities=fidelities, ignore=untouched,
            step=None if what == "ratios" else step, numbered=what == "runs", counts=counts,
        )  # fmt: skip

    if runs is not None:
        frame, where, _ = read(load(runs, "runs"), "runs")
        _check_ignored(ignore, list(map(str, frame.columns)), where)
        mixtures, scores, own = split_runs(
            frame.drop(columns=list(ignore)), where, domains, chosen, counts=counts
        )
        if isinstance(better, Mapping):
            better = {own.get(name, name): way for name, way in better.items()}
        return _to_trials(mixtures, where, scores, where, better, holdout, members, counts, own)
    loaded = load(ratios, "ratios"), load(table, "metrics")
    ids: tuple[str | None, str | None] = id_column, id_column
    if id_column is None:
        ids = choose_pair_ids(loaded[0].frame, loaded[1].frame, untouched)
        require_same_rows(loaded[0].frame, loaded[1].frame, ids, untouched)
    mixtures, where, begun = read(loaded[0], "ratios", ids[0])
    scores, scores_name, scored = read(loaded[1], "metrics", ids[1])
    _check_ignored(ignore, [*map(str, mixtures.columns), *map(str, scores.columns)], scores_name)
    mixtures = mixtures.drop(columns=list(ignore), errors="ignore")
    scores = scores.drop(columns=list(ignore), errors="ignore")
    mixtures = drop_unfinished(mixtures, where)
    scores = drop_unfinished(drop_runs(scores, begun, kept=mixtures), scores_name)
    mixtures = drop_runs(mixtures, scored, kept=scores)
    mixtures, scores = join(mixtures, where, scores, scores_name, keep=domains or ())
    if domains is not None:  # other columns may hold text
        mixtures = _select_domains(mixtures, where, domains, counts)
        mixtures = require_numbers(mixtures, where)
    else:
        mixtures = _select_domains(require_numbers(mixtures, where), where, domains, counts)
    mixtures = fill_unused(mixtures, where)
    scores = drop_run_metadata(scores, scores_name)
    return _to_trials(mixtures, where, scores, scores_name, better, holdout, members, counts)


def _is_table(given: object) -> bool:
    return given is None or isinstance(given, str | os.PathLike) or hasattr(given, "columns")


def _as_names(what: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TrialsError(f"{what} is {show(given)}; give a list of names.")
    return tuple(map(str, given))


def _check_ignored(ignore: Sequence[str], known: Sequence[str], where: str) -> None:
    for name in ignore:
        if name not in known:
            raise TrialsError(
                f"{where} has no column {name!r} to ignore. {did_you_mean(name, known)}"
            )


def _select_domains(
    frame: "pd.DataFrame", where: str, domains: Sequence[str] | None, counts: bool
) -> "pd.DataFrame":
    """Strip the common prefix of all columns, and select `domains` by full or stripped name."""
    frame = frame.set_axis(list(map(str, frame.columns)), axis="columns")
    if domains is None:
        frame = _drop_others(frame, where, counts)
    columns = list(frame.columns)
    names = strip_common_prefix(columns)
    if names != columns:
        log.info("Domains are named without the common prefix of their columns (%r): %s, ...",
                 columns[0].removesuffix(names[0]), names[0])  # fmt: skip
    frame = frame.set_axis(names, axis="columns")
    if domains is None:
        return frame
    full = dict(zip(columns, names, strict=True))
    selected = [full.get(domain, domain) for domain in domains]
    for domain in selected:
        if domain not in names:
            raise TrialsError(f"{where} has no ratios of {domain!r}. {did_you_mean(domain, names)}")
    return frame[selected]


def _drop_others(frame: "pd.DataFrame", where: str, counts: bool) -> "pd.DataFrame":
    """Drop a sum of all ratios, and what is named like a metric if the rest sums to one."""
    kept = select_ratios(frame, doubtful_columns(list(frame.columns)), where)
    total = find_total(frame, counts=counts)
    if kept is None:
        kept = [column for column in frame.columns if column != total]
        if total is not None:
            log.info("%s: %r is the sum of the other columns and is left out.", where, total)
    named = [c for c in frame.columns if c not in kept and c != total]
    if named:
        log.info("%s: %s are not domains and are left out; name them by domains= (--domains on the "
                 "shell) if they are.", where, ", ".join(named))  # fmt: skip
    return frame[kept]


def _to_trials(
    mixtures: "pd.DataFrame",
    where: str,
    scores: "pd.DataFrame",
    scores_name: str,
    better: Better,
    holdout: Sequence[str],
    capabilities: Mapping[str, Sequence[str]],
    counts: bool,
    own: Mapping[str, str] = MappingProxyType({}),
) -> Trials:
    scores.columns = scores.columns.map(str)
    fidelities = _read_fidelities(scores, scores_name)
    cost = [c for c in COST_COLUMNS if c in scores.columns][:1]
    unused = [*FIDELITY_COLUMNS, *(c for c in COST_COLUMNS if c not in cost)]
    numbers = require_numbers(scores.drop(columns=unused, errors="ignore"), scores_name)
    unit = "" if cost in ([], [COST_COLUMNS[0]]) else cost[0]  # `cost` says none
    costs = numbers[cost[0]].fillna(0.0).to_numpy() if cost else np.zeros(len(scores))
    numbers = drop_infinite(numbers.drop(columns=cost), scores_name)
    std_errors = find_std_errors(list(numbers.columns))
    values = drop_spreads(numbers.drop(columns=list(std_errors.values())), scores_name)
    if not len(values.columns):
        raise TrialsError(f"{scores_name} has no metrics; give one column of numbers for each.")
    values = drop_settings(values, better, scores_name)
    directions = infer_directions(values, better, scores_name)
    names = dict(zip(values.columns, strip_common_prefix(list(values.columns)), strict=True))
    metrics = make_metrics(
        names, directions, scores_name, holdout=holdout, capabilities=capabilities, own=own
    )
    ids, domains = list(mixtures.index), list(map(str, mixtures.columns))
    rows = normalize_rows(mixtures.to_numpy(dtype=np.float64), ids, where, counts=counts)
    constant = [name for name, column in zip(domains, rows.T, strict=True) if np.ptp(column) < 1e-9]
    if constant:
        log.warning("%s: the ratio of %s is the same in all runs; its effect cannot be estimated.",
                    where, ", ".join(constant))  # fmt: skip
    trials = [
        Trial(
            str(ids[i]),
            Mixture.from_vector(domains, rows[i]),
            scores=_scores_of(numbers.iloc[i], names, std_errors),
            kind=fidelity if fidelity in KINDS else "trained",
            fidelity="" if fidelity in KINDS else fidelity,
            cost=float(costs[i]),
            cost_unit=unit if costs[i] else "",
        )
        for i, fidelity in enumerate(fidelities)
    ]
    return Trials(trials, metrics, domains)


def _read_fidelities(scores: "pd.DataFrame", where: str) -> list[str]:
    """Return the fidelity of each run, empty without a fidelity column.

    It is spelled as in the table; numbers that plainly are sizes have a unit (`60M`).
    """
    import pandas as pd

    column = next((name for name in FIDELITY_COLUMNS if name in scores.columns), None)
    if column is None:
        return [""] * len(scores)
    cells = scores[column]
    blank = cells.index[cells.isna() | (cells.astype(str).str.strip() == "")]
    if len(blank):
        raise TrialsError(
            f"{where}, run {blank[0]}: its {column} is empty; fill it in, or take the column out "
            "if all runs are of one kind."
        )
    if pd.api.types.is_numeric_dtype(cells):
        names = {cell: f"{cell:.15g}" for cell in cells.unique()}
        shown = {cell: show_size(parse_size(name) or 0.0) for cell, name in names.items()}
        if min(names) >= PLAIN_FROM and len(set(shown.values())) == len(names):
            names = shown
        return [names[cell] for cell in cells]
    return [str(cell).strip() for cell in cells]


def _scores_of(
    row: "pd.Series[float]", names: Mapping[str, str], std_errors: Mapping[str, str]
) -> dict[str, Score]:
    errors = {column: float(row[of_error]) for column, of_error in std_errors.items()}
    return {name: Score(float(row[column]), errors.get(column, float("nan")))
            for column, name in names.items() if np.isfinite(row[column])}  # fmt: skip
