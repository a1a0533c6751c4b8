"""Several rows of one run id: seeds are repeats of a mixture, steps are one run at several times."""

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from mixopt.errors import TrialsError, require_number
from mixopt.tables.columns import FIDELITY_COLUMNS, without_tracker
from mixopt.tables.step_rows import fill_from_earlier, read_steps

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SEEDS = ("seed", "random_seed", "data_seed", "train_seed", "replicate", "repeat", "rep")
TOKENS = ("tokens", "n_tokens", "num_tokens", "tokens_seen", "consumed_tokens", "train_tokens")
"""Tokens that a run has read; where nothing else tells its rows apart, they are its steps."""
STEPS = (
    "step",
    "_step",
    "global_step",
    "train/global_step",
    "trainer/global_step",
    "iteration",
    "iter",
    "training_iteration",
    "epoch",
    *TOKENS,
)
SUFFIX = " (seed "


def settle_repeats(
    frame: "pd.DataFrame",
    ids: "pd.Series[Any]",
    where: str,
    step: float | None = None,
    ignore: Collection[str] = (),
) -> tuple["pd.DataFrame", "pd.Series[Any]"]:
    """Return one row for each run and fidelity where a seed or a step tells rows of one id apart.

    Args:
        frame: One row per run (`n` rows), without ids.
        ids: Names of the runs (`n`).
        where: Name of the table, for messages.
        step: Step whose rows are taken; the last of each run if None.
        ignore: Columns that are neither seeds nor steps.

    Returns:
        The rows that are kept and their ids; repeats of a run are named `ID (seed S)`.

    Raises:
        TrialsError: `step` is given, and the table has no such step; or a step is no number.
        ArgumentTypeError: `step` is no number.
    """
    import pandas as pd

    if step is not None:
        require_number("step", step)
    fidelity = [name for name in FIDELITY_COLUMNS if name in frame.columns][:1]
    keys = pd.concat([ids.rename("id"), *(frame[name] for name in fidelity)], axis="columns")
    candidates = frame[[c for c in frame.columns if c not in ignore]]
    steps, seeds = _find(candidates, STEPS, keys), _find(candidates, SEEDS)
    if step is not None:
        at = None if steps is None else read_steps(frame[steps], where) == step
        if at is None or not at.any():
            raise TrialsError(f"{where} has no row of step {step:g} (--step); leave it out.")
        _warn_of_lost(keys, at, where, step)
        frame, ids, keys = _drop_steps(frame[at], steps), ids[at], keys[at]
        steps = None
    if not keys.duplicated().any():
        return frame, ids
    same = pd.concat([keys, frame.drop(columns=fidelity)], axis="columns").astype(str).duplicated()
    if same.any():
        log.warning("%s: %d rows that repeat another one are left out.", where, int(same.sum()))
        frame, ids, keys = frame[~same], ids[~same], keys[~same]
    if seeds is not None:
        keys = keys.assign(seed=frame[seeds])
    if steps is not None and keys.duplicated().any():
        order = read_steps(frame[steps], where)
        last = order.groupby([keys[name].astype(str) for name in keys], sort=False).transform("max")
        kept = (order == last) | last.isna()  # a run without a step has no last one
        ends = sorted(set(last.dropna()))
        last_ones = " to ".join(f"{end:g}" for end in dict.fromkeys([*ends[:1], *ends[-1:]]))
        more = "" if without_tracker(steps).lower() not in TOKENS else (
            ", and --fidelities A,B fits several")  # fmt: skip
        if ends:
            log.info(
                "%s: of the rows of a run that of its last %s is taken (%s); --step N takes another%s.",
                where, steps, last_ones, more,
            )  # fmt: skip
        runs = keys.astype(str).agg(" ".join, axis="columns").rename("run")
        frame = fill_from_earlier(frame, kept, runs, order, where)
        frame, ids, keys = _drop_steps(frame, steps), ids[kept], keys[kept]
    repeated = keys.drop(columns="seed", errors="ignore").duplicated(keep=False)
    if seeds is None or keys.duplicated().any() or not repeated.any():
        return frame, ids
    names = ids + SUFFIX + frame[seeds].map(_spell) + ")"
    log.info("%s: %d rows are repeats of %d runs with other seeds.",
             where, int(repeated.sum()), ids[repeated].nunique())  # fmt: skip
    return frame.drop(columns=[seeds]), ids.mask(repeated, names)


def _warn_of_lost(keys: "pd.DataFrame", at: "pd.Series[bool]", where: str, step: float) -> None:
    """Warn of runs that have no row of the step."""
    runs = [" ".join(map(str, row)) for row in keys.itertuples(index=False)]
    found = {run for run, is_kept in zip(runs, at, strict=True) if is_kept}
    lost = [run for run in dict.fromkeys(runs) if run not in found]
    if lost:
        log.warning("%s: %d runs have no row of step %g and are left out (%s%s).",
                    where, len(lost), step, lost[0], ", ..." * (len(lost) > 1))  # fmt: skip


def spread_over_seeds(mixtures: "pd.DataFrame", scores: "pd.DataFrame") -> "pd.DataFrame":
    """Return the mixtures with a row for each seed of a run, where only the scores name seeds.

    Args:
        mixtures: Ratios by run id (`n x d`).
        scores: Metrics by run id, of which some are `ID (seed S)`.
    """
    runs = scores.index.map(_without_seed)
    if mixtures.index.has_duplicates or list(runs) == list(scores.index):
        return mixtures
    if not set(runs) <= set(mixtures.index) or set(scores.index) & set(mixtures.index) == set(runs):
        return mixtures
    rest = mixtures.index.difference(runs)
    spread = mixtures.loc[runs].set_axis(scores.index)
    return spread if rest.empty else _append(spread, mixtures.loc[rest])


def add_lost_runs(kept: "pd.DataFrame", listed: "pd.DataFrame") -> "pd.DataFrame":
    """Return the runs that are kept, then those of which no row is, by id and fidelity.

    Args:
        kept: Rows by id that `settle_repeats` kept.
        listed: Rows by id that it was given.
    """
    shared = [name for name in FIDELITY_COLUMNS if name in kept.columns][:1]
    found = {_without_own_seed(run) for run in _name_runs(kept, shared)}
    lost = listed[shared][[run not in found for run in _name_runs(listed, shared)]]
    return _append(kept[shared], lost)


def drop_runs(frame: "pd.DataFrame", begun: "pd.DataFrame", kept: "pd.DataFrame") -> "pd.DataFrame":
    """Return one table's rows without the runs that the other table lists and does not keep.

    Where both tables have a fidelity, a run is dropped at that fidelity alone.

    Args:
        frame: One row per run, indexed by its id (`n` rows).
        begun: All runs of the other table by id; some ids may be `ID (seed S)`.
        kept: Those of them that are used.
    """
    shared = [c for c in FIDELITY_COLUMNS if all(c in t.columns for t in (frame, begun, kept))][:1]
    all_runs, used = _name_runs(begun, shared), _name_runs(kept, shared)
    gone = set(all_runs) - set(used)
    gone |= set(map(_without_own_seed, all_runs)) - set(map(_without_own_seed, used))
    return frame[[not gone & {run, _without_own_seed(run)} for run in _name_runs(frame, shared)]]


def _name_runs(frame: "pd.DataFrame", fidelity: list[str]) -> list[tuple[str, ...]]:
    """Return the id of each row, and its fidelity where that column is named."""
    columns = [frame.index.astype(str), *(frame[name].astype(str) for name in fidelity)]
    return list(zip(*columns, strict=True))


def _without_own_seed(run: tuple[str, ...]) -> tuple[str, ...]:
    return (_without_seed(run[0]), *run[1:])


def _without_seed(run: object) -> str:
    return str(run).partition(SUFFIX)[0]


def _append(first: "pd.DataFrame", second: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    return pd.concat([first, second])


def _find(
    frame: "pd.DataFrame", names: tuple[str, ...], keys: "pd.DataFrame | None" = None
) -> str | None:
    """Return the first column with one of the names; with keys, the first that differs within one."""
    bare = {without_tracker(str(column)).lower(): str(column) for column in frame.columns}
    found = [bare[name] for name in names if name in bare]
    if keys is not None and len(found) > 1:
        ids = keys.astype(str).agg(" ".join, axis="columns")
        found = [c for c in found if frame[c].groupby(ids).nunique().max() > 1] or found
    return next(iter(found), None)


def _drop_steps(frame: "pd.DataFrame", steps: str | None) -> "pd.DataFrame":
    """Drop the column of steps; tokens stay, as they are what a run costs."""
    is_cost = steps is None or without_tracker(steps).lower() in TOKENS
    return frame if is_cost else frame.drop(columns=[steps])


def _spell(cell: object) -> str:
    return f"{cell:.15g}" if isinstance(cell, int | float) else str(cell)
