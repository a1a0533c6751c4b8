"""Joining mixtures and metrics by the run's id, never by position.

A metrics table in another order is a common thing and pairs every mixture with the wrong score
without a sound.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from mixopt.errors import MixtureError, TrialsError
from mixopt.tables.columns import BOOKKEEPING, COST_COLUMNS, LEVEL_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

ROUNDING_TOLERANCE = 0.01
"""Rows this close to one are rounded ratios (RegMix's are, to 0.001) and are normalised."""

COUNTS_FROM = 1.5
"""Rows that sum to more look like counts or percentages."""


def join(
    mixtures: "pd.DataFrame",
    at: str,
    scores: "pd.DataFrame",
    scores_at: str,
    *,
    keep: Sequence[str] = (),
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Both tables with the same runs in the same order; what is no ratio is out of `mixtures`.

    A fidelity may stand in either table or in both.

    Args:
        mixtures: Ratios by run.
        at: Its name, for errors.
        scores: Metrics by run.
        scores_at: Its name, for errors.
        keep: Domains, which stay whatever they are called.

    Raises:
        TrialsError: An id repeats, or stands in one table only.
    """
    check_ids(mixtures, at, scores, scores_at)
    level = next((name for name in LEVEL_COLUMNS if name in mixtures.columns), None)
    if level in keep:
        level = None
    own = next((name for name in LEVEL_COLUMNS if name in scores.columns), None)
    if level is not None and own is not None:
        pairs = [
            frame.set_axis([f"{i} ({v})" for i, v in zip(frame.index, frame[c], strict=True)])
            for frame, c in ((mixtures, level), (scores, own))
        ]
        check_ids(pairs[0], at, pairs[1], scores_at)
        places = pairs[0].index.get_indexer(pairs[1].index)
        mixtures = mixtures.iloc[places]
    elif level is not None:
        if mixtures.index.has_duplicates:
            raise TrialsError(
                f"{at} tells runs apart by {level!r} and {scores_at} has no such column; add it."
            )
        scores = scores.loc[mixtures.index].assign(**{level: mixtures[level]})
    elif scores.index.has_duplicates:  # runs of several fidelities on one mixture
        mixtures = mixtures.loc[scores.index]
    else:
        scores = scores.loc[mixtures.index]
    no_ratios = [c for c in (*BOOKKEEPING, *COST_COLUMNS, *LEVEL_COLUMNS)
                 if c in mixtures.columns and c not in keep]  # fmt: skip
    if no_ratios:
        log.info("%s: %s are no domains and are left out; name them by domains= (--domains on the "
                 "shell) if they are.", at, ", ".join(no_ratios))  # fmt: skip
    return mixtures.drop(columns=no_ratios), scores


def check_ids(mixtures: "pd.DataFrame", at: str, scores: "pd.DataFrame", scores_at: str) -> None:
    """Nothing where both tables name the same runs, once each and for each fidelity.

    Raises:
        TrialsError: An id repeats, or stands in one table only.
    """
    for frame, where in ((mixtures, at), (scores, scores_at)):
        level = next((name for name in LEVEL_COLUMNS if name in frame.columns), None)
        levels = frame[level].astype(str) if level else frame.index
        repeated = frame.index[list_duplicated(frame.index, levels)]
        if len(repeated):
            raise TrialsError(
                f"{where} holds run {repeated[0]!r} more than once; keep one row for each run"
                + (f" and {level}." if level else ", or tell them apart by a column `fidelity`.")
            )
    only = mixtures.index.symmetric_difference(scores.index)
    if len(only):
        _explain_offset(mixtures, scores)
        side = at if only[0] in mixtures.index else scores_at
        other = scores_at if side == at else at
        raise TrialsError(
            f"{len(only)} runs stand in one table only (run {only[0]!r} is in {side} and not in "
            f"{other}); give both tables the same ids."
        )


def list_duplicated(ids: Iterable[object], levels: Iterable[object]) -> list[bool]:
    """Whether a run of that id and level came before, for each."""
    seen: set[tuple[object, object]] = set()
    found = []
    for pair in zip(ids, levels, strict=True):
        found.append(pair in seen)
        seen.add(pair)
    return found


def _explain_offset(mixtures: "pd.DataFrame", scores: "pd.DataFrame") -> None:
    """An error of its own where one table counts its runs from 0 and the other from 1."""
    sides = []
    for frame in (mixtures, scores):
        if not all(str(name).lstrip("-").isdigit() for name in frame.index):
            return
        sides.append(sorted({int(str(name)) for name in frame.index}))
    first, second = sides
    if len(first) == len(second) and first != second and len(first) > 1:
        shifts = {b - a for a, b in zip(first, second, strict=True)}
        if len(shifts) == 1:
            raise TrialsError(
                f"The runs of one table are numbered from {first[0]} and those of the other from "
                f"{second[0]}; number both alike, so that no mixture gets another's scores."
            )


def normalise(
    rows: np.ndarray, ids: Sequence[object], where: str, *, counts: bool = False
) -> np.ndarray:
    """Rows (`n x d`) that sum to one.

    Args:
        rows: Ratios that sum to one within rounding; or counts.
        ids: Names of the runs, for errors.
        where: Name of the table, for errors.
        counts: Take rows as counts of tokens, whatever they sum to.

    Raises:
        MixtureError: A number is missing, infinite or negative, or a row sums to something else.
    """
    sums = rows.sum(axis=1)
    for identifier, row, total in zip(ids, rows, sums, strict=True):
        if not np.isfinite(row).all() or (row < 0).any():
            raise MixtureError(
                f"{where}, run {identifier}: a ratio is missing, infinite or negative; mend the row."
            )
        if counts and total <= 0:
            raise MixtureError(f"{where}, run {identifier}: all its counts are zero; mend the row.")
        if not counts and abs(total - 1) > ROUNDING_TOLERANCE:
            raise MixtureError(
                f"{where}, run {identifier}: the ratios sum to {total:.4g}, not to 1; "
                + (
                    "if they are counts or percentages, pass counts=True (--counts on the shell)."
                    if total > COUNTS_FROM
                    else "mend the row."
                )
            )
    rounded = int((np.abs(sums - 1) > 1e-9).sum())
    if rounded and not counts:
        log.info("%s: %d of %d rows summed to 1 only within rounding and were normalised.",
                 where, rounded, len(rows))  # fmt: skip
    return cast(np.ndarray, rows / sums[:, None])
