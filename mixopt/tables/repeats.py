"""Several rows of one run id: seeds are repeats of a mixture, steps are one run at several times."""

import logging
from typing import TYPE_CHECKING, Any

from mixopt.errors import TrialsError
from mixopt.tables.columns import FIDELITY_COLUMNS, without_tracker

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SEEDS = ("seed", "random_seed", "data_seed", "train_seed", "replicate", "repeat", "rep")
STEPS = ("step", "_step", "global_step", "iteration", "iter", "epoch")
SUFFIX = " (seed "


def settle_repeats(
    frame: "pd.DataFrame", ids: "pd.Series[Any]", where: str, step: float | None = None
) -> tuple["pd.DataFrame", "pd.Series[Any]"]:
    """Return one row for each run and fidelity where a seed or a step tells rows of one id apart.

    Args:
        frame: One row per run (`n` rows), without ids.
        ids: Names of the runs (`n`).
        where: Name of the table, for messages.
        step: Step whose rows are taken; the last of each run if None.

    Returns:
        The rows that are kept and their ids; repeats of a run are named `ID (seed S)`.

    Raises:
        TrialsError: `step` is given, and the table has no such step.
    """
    import pandas as pd

    fidelity = [name for name in FIDELITY_COLUMNS if name in frame.columns][:1]
    keys = pd.concat([ids.rename("id"), *(frame[name] for name in fidelity)], axis="columns")
    steps = _find(frame, STEPS)
    seeds = _find(frame, SEEDS)
    if step is not None:
        at = None if steps is None else pd.to_numeric(frame[steps], errors="coerce") == step
        if at is None or not at.any():
            raise TrialsError(f"{where} has no row of step {step:g} (--step); leave it out.")
        frame, ids, keys = frame[at].drop(columns=[steps]), ids[at], keys[at]
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
        order = pd.to_numeric(frame[steps], errors="coerce")
        last = order.groupby([keys[name].astype(str) for name in keys], sort=False).transform("max")
        kept = order == last
        ends = sorted(set(last))
        last_ones = f"{ends[0]:g}" + ("" if len(ends) == 1 else f" to {ends[-1]:g}")
        log.info("%s: of the rows of a run that of its last %s is taken (%s); --step N takes another.",
                 where, steps, last_ones)  # fmt: skip
        frame, ids, keys = frame[kept].drop(columns=[steps]), ids[kept], keys[kept]
    repeated = keys.drop(columns="seed", errors="ignore").duplicated(keep=False)
    if seeds is None or keys.duplicated().any() or not repeated.any():
        return frame, ids
    names = ids + SUFFIX + frame[seeds].map(_spell) + ")"
    log.info("%s: %d rows are repeats of %d runs with other seeds.",
             where, int(repeated.sum()), ids[repeated].nunique())  # fmt: skip
    return frame.drop(columns=[seeds]), ids.mask(repeated, names)


def spread_over_seeds(mixtures: "pd.DataFrame", scores: "pd.DataFrame") -> "pd.DataFrame":
    """Return the mixtures with a row for each seed of a run, where only the scores name seeds.

    Args:
        mixtures: Ratios by run id (`n x d`).
        scores: Metrics by run id, of which some are `ID (seed S)`.
    """
    runs = scores.index.map(lambda name: str(name).partition(SUFFIX)[0])
    if mixtures.index.has_duplicates or list(runs) == list(scores.index):
        return mixtures
    if not set(runs) <= set(mixtures.index) or set(scores.index) & set(mixtures.index) == set(runs):
        return mixtures
    rest = mixtures.index.difference(runs)
    spread = mixtures.loc[runs].set_axis(scores.index)
    return spread if rest.empty else _append(spread, mixtures.loc[rest])


def _append(first: "pd.DataFrame", second: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    return pd.concat([first, second])


def _find(frame: "pd.DataFrame", names: tuple[str, ...]) -> str | None:
    bare = {without_tracker(str(column)).lower(): str(column) for column in frame.columns}
    return next((bare[name] for name in names if name in bare), None)


def _spell(cell: object) -> str:
    return f"{cell:.15g}" if isinstance(cell, int | float) else str(cell)
