"""Join the tables of mixtures and metrics by run id, never by position.

If the metrics are in another order, a join by position silently pairs mixtures with wrong scores.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from mixopt.errors import MixtureError, TrialsError
from mixopt.tables.columns import BOOKKEEPING, COST_COLUMNS, FIDELITY_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

ROUNDING_TOLERANCE = 0.01
"""Rows whose sum is this close to one are rounded ratios (RegMix rounds to 0.001)."""

COUNTS_FROM = 1.5
"""Rows with a larger sum are probably counts or percentages."""


def join(
    mixtures: "pd.DataFrame",
    mixtures_name: str,
    scores: "pd.DataFrame",
    scores_name: str,
    *,
    keep: Sequence[str] = (),
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Return both tables with the same runs in the same order.

    The fidelity column may be in either table or in both; in the result it is in `scores`. Columns
    of `mixtures` that are known not to be ratios are dropped.

    Args:
        mixtures: Ratios, indexed by run id.
        mixtures_name: Its name in messages.
        scores: Metrics, indexed by run id.
        scores_name: Its name in messages.
        keep: Domains, which are never dropped.

    Raises:
        TrialsError: An id repeats, or is in one table only.
    """
    check_ids(mixtures, mixtures_name, scores, scores_name)
    fidelity = _fidelity_column(mixtures)
    if fidelity in keep:
        fidelity = None
    own = _fidelity_column(scores)
    if fidelity is not None and own is not None:
        keyed = [
            frame.set_axis([f"{i} ({v})" for i, v in zip(frame.index, frame[c], strict=True)])
            for frame, c in ((mixtures, fidelity), (scores, own))
        ]
        check_ids(keyed[0], mixtures_name, keyed[1], scores_name)
        mixtures = mixtures.iloc[keyed[0].index.get_indexer(keyed[1].index)]
    elif fidelity is not None:
        if mixtures.index.has_duplicates:
            raise TrialsError(
                f"{mixtures_name} distinguishes runs by {fidelity!r} and {scores_name} has no such "
                "column; add it."
            )
        scores = scores.loc[mixtures.index].assign(**{fidelity: mixtures[fidelity]})
    elif scores.index.has_duplicates:  # one mixture was run at several fidelities
        mixtures = mixtures.loc[scores.index]
    else:
        scores = scores.loc[mixtures.index]
    dropped = [c for c in (*BOOKKEEPING, *COST_COLUMNS, *FIDELITY_COLUMNS)
               if c in mixtures.columns and c not in keep]  # fmt: skip
    if dropped:
        log.info("%s: %s are not domains and are left out; name them by domains= (--domains on the "
                 "shell) if they are.", mixtures_name, ", ".join(dropped))  # fmt: skip
    return mixtures.drop(columns=dropped), scores


def _fidelity_column(frame: "pd.DataFrame") -> str | None:
    return next((name for name in FIDELITY_COLUMNS if name in frame.columns), None)


def check_ids(
    mixtures: "pd.DataFrame", mixtures_name: str, scores: "pd.DataFrame", scores_name: str
) -> None:
    """Check that both tables have the same run ids, once per fidelity.

    Raises:
        TrialsError: An id repeats, or is in one table only.
    """
    for frame, where in ((mixtures, mixtures_name), (scores, scores_name)):
        fidelity = _fidelity_column(frame)
        fidelities = frame[fidelity].astype(str) if fidelity else frame.index
        repeated = frame.index[list_duplicated(frame.index, fidelities)]
        if len(repeated):
            raise TrialsError(
                f"{where} has run {repeated[0]!r} more than once; keep one row for each run"
                + (f" and {fidelity}." if fidelity else ", or add a column `fidelity`.")
            )
    unmatched = mixtures.index.symmetric_difference(scores.index)
    if len(unmatched):
        _explain_offset(mixtures, scores)
        sides = [mixtures_name, scores_name]
        side, other = sides if unmatched[0] in mixtures.index else reversed(sides)
        raise TrialsError(
            f"{len(unmatched)} runs are in one table only (run {unmatched[0]!r} is in {side} and not "
            f"in {other}); give both tables the same ids."
        )


def list_duplicated(ids: Iterable[object], fidelities: Iterable[object]) -> list[bool]:
    """Return for each run whether its id and fidelity occurred before."""
    seen: set[tuple[object, object]] = set()
    repeated = []
    for pair in zip(ids, fidelities, strict=True):
        repeated.append(pair in seen)
        seen.add(pair)
    return repeated


def _explain_offset(mixtures: "pd.DataFrame", scores: "pd.DataFrame") -> None:
    """Raise `TrialsError` if one table numbers its runs from 0 and the other from 1, say."""
    numbers = []
    for frame in (mixtures, scores):
        if not all(str(name).lstrip("-").isdigit() for name in frame.index):
            return
        numbers.append(sorted({int(str(name)) for name in frame.index}))
    first, second = numbers
    if len(first) == len(second) and first != second and len(first) > 1:
        shifts = {b - a for a, b in zip(first, second, strict=True)}
        if len(shifts) == 1:
            raise TrialsError(
                f"The runs of one table are numbered from {first[0]} and those of the other from "
                f"{second[0]}; number both alike, so that no mixture gets another's scores."
            )


def normalize_rows(
    rows: np.ndarray, ids: Sequence[object], where: str, *, counts: bool = False
) -> np.ndarray:
    """Return rows (`n x d`) divided by their sums.

    Args:
        rows: Ratios that sum to one within `ROUNDING_TOLERANCE`, or counts (`n x d`).
        ids: Run ids (`n`), for messages.
        where: Name of the table, for messages.
        counts: Accept rows of any positive sum.

    Raises:
        MixtureError: A ratio is missing, infinite or negative, or a row has the wrong sum.
    """
    sums = rows.sum(axis=1)
    for identifier, row, total in zip(ids, rows, sums, strict=True):
        if not np.isfinite(row).all() or (row < 0).any():
            raise MixtureError(
                f"{where}, run {identifier}: a ratio is missing, infinite or negative; fix the row."
            )
        if counts and total <= 0:
            raise MixtureError(f"{where}, run {identifier}: all its counts are zero; fix the row.")
        if not counts and abs(total - 1) > ROUNDING_TOLERANCE:
            remedy = "fix the row."
            if total > COUNTS_FROM:
                remedy = "for counts or percentages pass counts=True (--counts on the shell)."
            raise MixtureError(
                f"{where}, run {identifier}: the ratios sum to {total:.4g}, not to 1; {remedy}"
            )
    rounded = int((np.abs(sums - 1) > 1e-9).sum())
    if rounded and not counts:
        log.info("%s: %d of %d rows summed to 1 only within rounding and were normalized.",
                 where, rounded, len(rows))  # fmt: skip
    return cast(np.ndarray, rows / sums[:, None])
