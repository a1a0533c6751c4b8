"""Trials out of the tables that other tools leave: RegMix, Olmix, MLflow, W&B, or one's own."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from mixopt.errors import TrialsError, did_you_mean
from mixopt.mixture import Mixture
from mixopt.tables.columns import (
    BOOKKEEPING,
    COST_COLUMNS,
    FINISHED,
    LEVEL_COLUMNS,
    METRIC_PREFIXES,
    RATIO_PREFIXES,
    STATE_COLUMNS,
    capability_of,
    drop_spreads,
    find_ratio_columns,
    find_std_errors,
    split_prefix,
    strip_common_prefix,
    without_tracker,
)
from mixopt.tables.frame import as_numbers, drop_infinite, read_table, require_numbers
from mixopt.tables.join import check_ids, join, normalise
from mixopt.tables.metric_direction import drop_settings, tell_directions
from mixopt.trials import KINDS, Direction, Metric, Score, Trial, Trials

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def read_trials(
    *,
    ratios: "str | os.PathLike[str] | pd.DataFrame | None" = None,
    metrics: "str | os.PathLike[str] | pd.DataFrame | None" = None,
    runs: "str | os.PathLike[str] | pd.DataFrame | None" = None,
    domains: Sequence[str] | None = None,
    better: Direction | Mapping[str, Direction] | None = None,
    holdout: Sequence[str] = (),
    capabilities: Mapping[str, Sequence[str]] | None = None,
    counts: bool = False,
    ignore: Sequence[str] = (),
) -> Trials:
    """Trials from a table of mixtures and a table of their metrics, or from one with both.

    Tables are CSV, TSV, Parquet, JSON (lines) or pandas frames, with a column that names the runs.
    Beside metrics, columns may hold their standard errors (`x_stderr`, `se/x`), the run's cost
    (`cost`, `gpu_hours`, `flops`, `tokens`) and its fidelity (`fidelity`, `model_size`, `kind`).

    Args:
        ratios: Table with one column per domain (`d`); a name may carry a hierarchy (`web:science`).
        metrics: Table with the same runs and one column per metric (`m`).
        runs: Instead of the two, one table with both, as trackers export it: ratios are columns
            such as `ratio/web`, `params.mixture.web` or those named by `domains`.
        domains: Columns that are ratios; all of `ratios`, or those of `runs` that look like
            ratios, if left out.
        better: Whether lower or higher is better, for all or by metric. Where it is not given
            it is told from well-known names (loss, bpb, acc, ...), and said in the log.
        holdout: Metrics that report but must not choose mixtures.
        capabilities: Metrics by capability; those that none lists are one of their own, `all`.
        counts: The ratios are counts of tokens or percentages, and are normalised.
        ignore: Columns that are neither ratios nor metrics.

    Raises:
        TrialsError: Ids repeat or do not match, a cell is no number, or a direction is unknown.
        MixtureError: A row holds a negative ratio or does not sum to one within 0.01.
    """
    if (runs is None) == (ratios is None) or (ratios is None) != (metrics is None):
        raise TrialsError("Give either ratios= and metrics=, or runs= with both in one table.")
    if runs is not None:
        frame, at = read_table(runs, "runs")
        mixtures, scores = _split_runs(_drop(frame, at, ignore), at, domains)
        scores_at = at
    else:
        mixtures, at = read_table(cast("str", ratios), "ratios")
        scores, scores_at = read_table(cast("str", metrics), "metrics")
        known = [*map(str, mixtures.columns), *map(str, scores.columns)]
        _check_ignored(ignore, known, scores_at)
        mixtures = mixtures.drop(columns=[c for c in ignore if c in mixtures.columns])
        scores = scores.drop(columns=[c for c in ignore if c in scores.columns])
        mixtures, scores = join(mixtures, at, scores, scores_at, keep=domains or ())
        mixtures = _choose(require_numbers(mixtures, at), at, domains)
    return _to_trials(mixtures, at, scores, scores_at, better, holdout, capabilities or {}, counts)


def _drop(frame: "pd.DataFrame", where: str, ignore: Sequence[str]) -> "pd.DataFrame":
    _check_ignored(ignore, list(map(str, frame.columns)), where)
    return frame.drop(columns=list(ignore))


def _check_ignored(ignore: Sequence[str], known: Sequence[str], where: str) -> None:
    for name in ignore:
        if name not in known:
            raise TrialsError(
                f"{where} has no column {name!r} to ignore. {did_you_mean(name, known)}"
            )


def _choose(frame: "pd.DataFrame", where: str, domains: Sequence[str] | None) -> "pd.DataFrame":
    """The columns of `domains`, by their full names or without what all begin with; or all."""
    short = _rename(frame)
    if domains is None:
        return short
    full = dict(zip(map(str, frame.columns), short.columns, strict=True))
    chosen = [full.get(domain, domain) for domain in domains]
    for domain in chosen:
        if domain not in short.columns:
            raise TrialsError(
                f"{where} has no ratios of {domain!r}. {did_you_mean(domain, [*short.columns])}"
            )
    return short[chosen]


def _split_runs(
    frame: "pd.DataFrame", where: str, domains: Sequence[str] | None
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Mixtures and scores of one table, its unfinished runs left out."""
    frame = _drop_unfinished(frame, where)
    check_ids(frame, where, frame, where)
    frame.columns = frame.columns.map(str)
    columns = find_ratio_columns(list(frame.columns), domains)
    mixtures = require_numbers(frame[list(columns)], where).rename(columns=columns)
    # a run that lists no ratio of a domain did not use it
    mixtures = mixtures.fillna(0.0)
    rest = frame.drop(columns=list(columns))
    others = [c for c in rest.columns if split_prefix(c, RATIO_PREFIXES) is not None
              and without_tracker(c) not in (*COST_COLUMNS, *LEVEL_COLUMNS)]  # fmt: skip
    kept = {}
    for column in rest.columns.difference(others, sort=False):
        bare = without_tracker(column)
        if bare in BOOKKEEPING or bare.startswith(("weight/", "_wandb")):
            continue
        if column.startswith(("config.", "params.")) and bare not in (
            *COST_COLUMNS,
            *LEVEL_COLUMNS,
        ):
            continue  # what a run was told is no measure of it
        if bare in (*COST_COLUMNS, *LEVEL_COLUMNS) or _is_numeric(rest[column]):
            kept[column] = split_prefix(column, METRIC_PREFIXES) or bare
    short = list(kept.values())
    kept = {c: name if short.count(name) == 1 else c for c, name in kept.items()}
    scores = rest[list(kept)].rename(columns=kept)
    left = [c for c in rest.columns if c not in kept]
    if left:
        log.info("%s: %d columns that hold no numbers or no metrics are left out (%s).",
                 where, len(left), ", ".join(left[:5]))  # fmt: skip
    return mixtures, scores


def _is_numeric(column: "pd.Series[float]") -> bool:
    import pandas as pd

    if pd.api.types.is_bool_dtype(column):
        return False
    # a word among numbers ("diverged") is an error to be told, not a reason to drop the metric
    numbers = as_numbers(column).notna().sum()
    return bool(numbers) and bool(numbers >= column.notna().sum() / 2)


def _drop_unfinished(frame: "pd.DataFrame", where: str) -> "pd.DataFrame":
    column = next((name for name in STATE_COLUMNS if name in frame.columns), None)
    if column is None:
        return frame
    done = frame[column].astype(str).str.lower().isin(FINISHED)
    if not done.all():
        log.warning("%s: %d runs that are not finished are left out.", where, int((~done).sum()))
    return frame[done].drop(columns=column)


def _rename(frame: "pd.DataFrame") -> "pd.DataFrame":
    columns = list(map(str, frame.columns))
    names = strip_common_prefix(columns)
    if names != columns:
        log.info("Domains are named without what all their columns begin with (%r): %s, ...",
                 columns[0].removesuffix(names[0]), names[0])  # fmt: skip
    return frame.set_axis(names, axis="columns")


def _to_trials(
    mixtures: "pd.DataFrame",
    at: str,
    scores: "pd.DataFrame",
    scores_at: str,
    better: Direction | Mapping[str, Direction] | None,
    holdout: Sequence[str],
    capabilities: Mapping[str, Sequence[str]],
    counts: bool,
) -> Trials:
    scores.columns = scores.columns.map(str)
    scores = scores.drop(columns=[c for c in BOOKKEEPING if c in scores.columns])
    levels = _read_levels(scores, scores_at)
    costs = [c for c in COST_COLUMNS if c in scores.columns][:1]
    told = [c for c in scores.columns if c in (*LEVEL_COLUMNS, *COST_COLUMNS)]
    numbers = require_numbers(scores.drop(columns=[c for c in told if c not in costs]), scores_at)
    spent = numbers[costs[0]].fillna(0.0).to_numpy() if costs else np.zeros(len(scores))
    numbers = drop_infinite(numbers.drop(columns=costs), scores_at)
    errors = find_std_errors(list(numbers.columns))
    values = drop_spreads(numbers.drop(columns=list(errors.values())), scores_at)
    if not len(values.columns):
        raise TrialsError(f"{scores_at} has no metrics; give one column of numbers for each.")
    values = drop_settings(values, better, scores_at)
    directions = tell_directions(values, better, scores_at)
    names = dict(zip(values.columns, strip_common_prefix(list(values.columns)), strict=True))
    known = list(names.values())
    for name in (*holdout, *(m for members in capabilities.values() for m in members)):
        if name not in known:
            raise TrialsError(f"{scores_at} has no metric {name!r}. {did_you_mean(name, known)}")
    table = [
        Metric(
            name,
            directions[column],
            capability=capability_of(name, capabilities),
            role="holdout" if name in holdout else "search",
        )
        for column, name in names.items()
    ]
    ids, domains = list(mixtures.index), list(map(str, mixtures.columns))
    rows = normalise(mixtures.to_numpy(dtype=np.float64), ids, at, counts=counts)
    _tell_constants(rows, domains, at)
    trials = []
    for place, identifier in enumerate(ids):
        level = levels[place]
        trials.append(
            Trial(
                id=str(identifier),
                ratios=Mixture.from_vector(domains, rows[place]),
                scores=_scores_of(numbers, place, names, errors),
                kind=level if level in KINDS else "trained",
                fidelity="" if level in KINDS else level,
                cost=float(spent[place]),
            )
        )
    return Trials(trials, table, domains)


def _read_levels(scores: "pd.DataFrame", where: str) -> list[str]:
    """The fidelity of each run as the table spells it, empty where no column tells it.

    Raises:
        TrialsError: The column is empty for a run.
    """
    import pandas as pd

    column = next((name for name in LEVEL_COLUMNS if name in scores.columns), None)
    if column is None:
        return [""] * len(scores)
    cells = scores[column]
    blank = cells.index[cells.isna() | (cells.astype(str).str.strip() == "")]
    if len(blank):
        raise TrialsError(
            f"{where}, run {blank[0]}: its {column} is empty; fill it in, or take the column out "
            "where all runs are of one kind."
        )
    if pd.api.types.is_numeric_dtype(cells):
        return [f"{cell:.15g}" for cell in cells]
    return [str(cell).strip() for cell in cells]


def _scores_of(
    numbers: "pd.DataFrame", place: int, names: Mapping[str, str], errors: Mapping[str, str]
) -> dict[str, Score]:
    row = numbers.iloc[place]
    found = {}
    for column, name in names.items():
        if np.isfinite(row[column]):
            error = float(row[errors[column]]) if column in errors else float("nan")
            found[name] = Score(float(row[column]), error)
    return found


def _tell_constants(rows: np.ndarray, domains: Sequence[str], where: str) -> None:
    still = [name for name, column in zip(domains, rows.T, strict=True) if np.ptp(column) < 1e-9]
    if still:
        log.warning("%s: the ratio of %s is the same in all runs; nothing can be learnt about it.",
                    where, ", ".join(still))  # fmt: skip
