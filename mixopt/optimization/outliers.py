"""Runs whose scores lie far from those of all others: a crashed evaluation, or another model's row."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mixopt.trials import Trials

FEWEST = 6
"""Fewest runs of which one can be called an outlier."""
FAR = 8.0
"""Distance from the median in robust standard deviations (1.4826 times the median deviation)."""
MAX_NAMED = 3


def describe_outliers(scores: Mapping[str, ArrayLike], ids: Sequence[str]) -> list[str]:
    """Describe runs that lie far from the others.

    Args:
        scores: Scores of the `n` runs by metric, NaN where missing.
        ids: Names of the runs.

    Returns:
        One sentence if there are any, else none.
    """
    found: dict[str, list[str]] = {}
    for metric, column in scores.items():
        values = np.asarray(column, dtype=np.float64)
        known = np.isfinite(values)
        if known.sum() < FEWEST:
            continue
        median = np.median(values[known])
        deviations = np.abs(values - median)
        spread = 1.4826 * np.median(deviations[known])
        if spread == 0:  # half of the runs are equal: nothing is far or near
            continue
        for index in np.flatnonzero(known & (deviations > FAR * spread)):
            text = f"{metric} {values[index]:.4g} (median {median:.4g})"
            found.setdefault(ids[int(index)], []).append(text)
    if not found:
        return []
    named = "; ".join(f"{run}: {metrics[0]}" for run, metrics in list(found.items())[:MAX_NAMED])
    more = f", and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return [
        f"{len(found)} of {len(ids)} runs lie far from all others ({named}{more}); one such run can "
        "move a proposal: look at them, and leave them out if they went wrong."
    ]


def describe_outlying_trials(trials: Trials) -> list[str]:
    """Describe real runs that lie far from the others of their fidelity.

    Args:
        trials: Runs of any kind; merges and ensembles are left out.

    Returns:
        At most one sentence for each fidelity.
    """
    sentences = []
    for level in trials.levels:
        chosen = [t for t in trials if t.level == level and t.kind == "trained"]
        if chosen:
            own = Trials(chosen, trials.metrics, trials.domains)
            columns = own.values(trials.metrics).T
            scores = {m.name: column for m, column in zip(trials.metrics, columns, strict=True)}
            sentences += describe_outliers(scores, [trial.id for trial in chosen])
    return sentences
