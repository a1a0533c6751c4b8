"""Trials out of the tables that other tools leave: RegMix's and Olmix's pairs of CSVs.

Rows are joined by id, never by position: a metrics table in another order is a common thing
and pairs every mixture with the wrong score without a sound.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from mixopt.errors import MixtureError, TrialsError, did_you_mean
from mixopt.mixture import Mixture
from mixopt.trials import Direction, Metric, Score, Trial, Trials

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

ID_COLUMNS = ("run_id", "run", "id", "trial", "name", "index")
"""Columns that name a run, in the order they are looked for."""

ROW_NUMBER = "Unnamed: 0"
"""What pandas calls the row numbers that `to_csv` writes: they name a place, not a run."""

ROUNDING_TOLERANCE = 0.01
"""Rows this close to one are rounded ratios (RegMix's are, to 0.001) and are normalised."""

LOWER_WORDS = {"loss", "bpb", "ppl", "perplexity", "nll", "bits", "error", "entropy"}
HIGHER_WORDS = {"acc", "accuracy", "em", "f1", "pass@1", "score", "bleu", "rouge", "rougel"}

LOSS_RANGE = (1.0, 20.0)
"""Nats and bits reach into this range: fractions end at 1, percentages go higher."""

LOSS_SHARE = 0.9
"""Share of the unnamed columns that must reach into it for all of them to be taken as losses."""


def read_trials(
    *,
    ratios: "str | os.PathLike[str] | pd.DataFrame",
    metrics: "str | os.PathLike[str] | pd.DataFrame",
    better: Direction | Mapping[str, Direction] | None = None,
    holdout: Sequence[str] = (),
) -> Trials:
    """Trials from a table of mixtures and a table of their metrics, joined by id.

    Args:
        ratios: CSV or frame with an id column and one column per domain (`d`).
        metrics: CSV or frame with the same ids and one column per metric (`m`).
        better: Whether lower or higher is better, for all or by metric. Where it is not given
            it is told from well-known names (loss, bpb, acc, ...), and said in the log.
        holdout: Metrics that report but must not choose mixtures.

    Raises:
        TrialsError: Ids repeat or do not match, a cell is no number, or a direction is unknown.
        MixtureError: A row holds a negative ratio or does not sum to one within 0.01.
    """
    mixtures, mixtures_at = _read_table(ratios, "ratios")
    scores, scores_at = _read_table(metrics, "metrics")
    _check_ids(mixtures, mixtures_at, scores, scores_at)
    scores = scores.loc[mixtures.index]

    directions = _tell_directions(scores, better, scores_at)
    domains = _strip_common_prefix(list(map(str, mixtures.columns)))
    names = _strip_common_prefix(list(map(str, scores.columns)))
    for name in holdout:
        if name not in names:
            raise TrialsError(f"{scores_at} has no metric {name!r}. {did_you_mean(name, names)}")
    table = [
        Metric(name, directions[column], role="holdout" if name in holdout else "search")
        for name, column in zip(names, scores.columns, strict=True)
    ]
    rows = _normalise(mixtures.to_numpy(dtype=np.float64), list(mixtures.index), mixtures_at)
    values = scores.to_numpy(dtype=np.float64)
    trials = [
        Trial(
            id=str(identifier),
            ratios=Mixture.from_vector(domains, row),
            scores={n: Score(v) for n, v in zip(names, value, strict=True) if np.isfinite(v)},
        )
        for identifier, row, value in zip(mixtures.index, rows, values.tolist(), strict=True)
    ]
    return Trials(trials, table, domains)


def _read_table(
    table: "str | os.PathLike[str] | pd.DataFrame", what: str
) -> tuple["pd.DataFrame", str]:
    """The numbers of a table indexed by its id column, and the words that name it in errors."""
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        frame, where = table.copy(), f"The {what} table"
    else:
        path, where = Path(table), str(table)
        if not path.is_file():
            raise TrialsError(f"{where} does not exist; give the CSV with the {what}.")
        try:
            header = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].dropna().tolist()
            frame = pd.read_csv(path, index_col=False)
        except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
            told = " ".join(str(error).split())
            raise TrialsError(f"{where} cannot be read as CSV ({told}); mend it.") from None
        _require_unique_columns(header, where)
    _require_unique_columns(list(map(str, frame.columns)), where)
    column = next((name for name in ID_COLUMNS if name in frame.columns), None)
    if column is None:
        raise TrialsError(
            f"{where} has no column that names its runs; add one of {', '.join(ID_COLUMNS)}."
        )
    if ROW_NUMBER in frame.columns:
        log.info("%s: the row numbers in its first column are left out; runs are named by %r.",
                 where, column)  # fmt: skip
        frame = frame.drop(columns=ROW_NUMBER)
    if frame[column].isna().any():
        raise TrialsError(f"{where}: a cell of its id column {column!r} is empty; name every run.")
    frame = frame.set_index(frame[column].astype(str).rename(column)).drop(columns=column)
    if frame.empty or not len(frame.columns):
        lacking = "rows" if frame.empty else "columns"
        raise TrialsError(f"{where} has no {lacking}; give one row per run.")
    for name in frame.columns:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        bad = frame.index[numbers.isna() & frame[name].notna()]
        if len(bad):
            raise TrialsError(
                f"{where}, run {bad[0]}, column {name!r}: {frame[name][bad[0]]!r} is not a "
                "number; mend the cell or take the column out."
            )
        frame[name] = numbers
    return frame, where


def _require_unique_columns(names: Sequence[str], where: str) -> None:
    for name in names:
        if list(names).count(name) > 1:
            raise TrialsError(f"{where} has two columns called {name!r}; give each its own name.")


def _check_ids(mixtures: "pd.DataFrame", at: str, scores: "pd.DataFrame", scores_at: str) -> None:
    for frame, where in ((mixtures, at), (scores, scores_at)):
        repeated = frame.index[frame.index.duplicated()]
        if len(repeated):
            raise TrialsError(
                f"{where} holds run {repeated[0]!r} more than once; keep one row for each run."
            )
    only = mixtures.index.symmetric_difference(scores.index)
    if len(only):
        side = at if only[0] in mixtures.index else scores_at
        other = scores_at if side == at else at
        raise TrialsError(
            f"{len(only)} runs stand in one table only (run {only[0]!r} is in {side} and not in "
            f"{other}); give both tables the same ids."
        )


def _normalise(rows: np.ndarray, ids: Sequence[object], where: str) -> np.ndarray:
    sums = rows.sum(axis=1)
    for identifier, row, total in zip(ids, rows, sums, strict=True):
        if not np.isfinite(row).all() or (row < 0).any():
            raise MixtureError(
                f"{where}, run {identifier}: a ratio is missing, infinite or negative; mend the row."
            )
        if abs(total - 1) > ROUNDING_TOLERANCE:
            raise MixtureError(
                f"{where}, run {identifier}: the ratios sum to {total:.4g}, not to 1; mend the row."
            )
    rounded = int((np.abs(sums - 1) > 1e-9).sum())
    if rounded:
        log.info("%s: %d of %d rows summed to 1 only within rounding and were normalised.",
                 where, rounded, len(rows))  # fmt: skip
    return cast(np.ndarray, rows / sums[:, None])


def _strip_common_prefix(names: list[str]) -> list[str]:
    """Names without the part that all share, cut after a separator (`train_the_pile_`)."""
    if len(names) < 2:
        return names
    prefix = os.path.commonprefix(names)
    cut = max(prefix.rfind(mark) for mark in "_/.") + 1
    return [name[cut:] for name in names]


def _tell_directions(
    scores: "pd.DataFrame", better: Direction | Mapping[str, Direction] | None, where: str
) -> dict[str, Direction]:
    columns = list(map(str, scores.columns))
    if better in ("lower", "higher"):
        return dict.fromkeys(columns, better)
    given = cast(Mapping[str, Direction], {} if better is None else better)
    if not isinstance(given, Mapping) or set(given.values()) - {"lower", "higher"}:
        raise TrialsError("better must be 'lower', 'higher', or one of them for each metric.")
    stripped = dict(zip(columns, _strip_common_prefix(columns), strict=True))
    for name in given:
        if name not in columns and name not in stripped.values():
            raise TrialsError(f"{where} has no metric {name!r}. {did_you_mean(name, columns)}")
    told: dict[str, Direction] = {}
    for column in columns:
        direction = given.get(column) or given.get(stripped[column]) or _direction_of_name(column)
        if direction:
            told[column] = direction
    unknown = [column for column in columns if column not in told]
    if unknown:
        largest = scores[unknown].max().to_numpy(dtype=np.float64)
        low, high = LOSS_RANGE
        if (largest > high).any() or (largest > low).mean() < LOSS_SHARE:
            raise TrialsError(
                f"{where} does not say whether lower or higher {unknown[0]!r} is better; pass "
                "better='lower', better='higher', or one of them by metric (--better on the shell)."
            )
        log.warning(
            "%s: %d metrics (%s, ...) are taken as losses, lower is better, because they reach "
            "%.3g; pass better= (--better on the shell) where that is wrong.",
            where, len(unknown), unknown[0], largest.max(),
        )  # fmt: skip
        told |= dict.fromkeys(unknown, "lower")
    return told


def _direction_of_name(name: str) -> Direction | None:
    words = set(re.split(r"[^a-z0-9@]+|_", name.lower()))
    if words & LOWER_WORDS:
        return "lower"
    return "higher" if words & HIGHER_WORDS else None
