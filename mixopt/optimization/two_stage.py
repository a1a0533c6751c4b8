"""Choose among a surrogate's best candidates by what runs near them measured.

A surrogate finds the basin of good mixtures and orders its floor badly; a kernel average of the measured
utilities of neighbors may order it better. See docs/methods.md, section 7.10.

Shapes: `n` candidates, `r` runs, `k` weights, `d` domains.
"""

from typing import Literal

import numpy as np

from mixopt.mixture import CHUNK, Array, hellinger
from mixopt.optimization.optimize import FoundMixtures
from mixopt.surrogates.repeats import group_repeats

ChooseBy = Literal["surrogate", "neighbors"]
"""Whether the surrogate alone chooses the best candidate, or neighbors among its best ones."""
CHOICES: tuple[ChooseBy, ...] = ("surrogate", "neighbors")

FLOOR = 30  # best candidates of the surrogate, of which neighbors choose
BANDWIDTH = 0.05
"""Total variation at which a run has exp(−½) of the weight; the runs' median nearest-neighbor distance
where they lie farther apart."""
FAR = 0.1  # median distance of runs from which neighbors were worse than the surrogate
SAME = 0.03  # Hellinger distance within which candidates count as the same


def neighbor_utilities(candidates: Array, runs: Array, utilities: Array) -> Array:
    """Return the kernel average (`n`) of measured utilities around candidates (Nadaraya-Watson).

    Args:
        candidates: Mixtures (`n x d`).
        runs: Mixtures that were measured (`r x d`).
        utilities: Their utilities (`r`).
    """
    width = max(BANDWIDTH, _usual_distance(runs))
    nearness = -0.5 * np.square(_total_variation(candidates, runs) / width)
    # relative to the nearest run: far from all runs the weights would all be zero
    weights = np.exp(nearness - nearness.max(axis=1, keepdims=True))
    return np.asarray(weights @ utilities / weights.sum(axis=1))


def choose_by_neighbors(found: FoundMixtures) -> Array:
    """Return the weights (`k`) of the candidate, of the surrogate's best ones, with the best neighbors.

    Candidates are those of the search and the feasible runs of the highest fidelity.

    Args:
        found: The surrogate, its candidates and the limits.

    Raises:
        InfeasibleError: No candidate meets the outcome constraint.
    """
    search, surrogate = found.search, found.surrogate
    measured = surrogate.observed_utilities(surrogate.trials)
    known = np.isfinite(measured)
    best = search.best_allowed(found.pool, found.values)
    if not known.any():
        return best
    ratios = surrogate.trials.ratios()
    back = np.argsort(search.order)
    feasible = search.space.space.contains(ratios[:, back], tolerance=1e-6)
    pool, values = found.pool, found.values
    if feasible.any():
        own = np.stack([search.space.weights_for(row)[0] for row in ratios[feasible][:, back]])
        pool = np.vstack([pool, own])
        values = np.concatenate([values, search.expected(found.goal, own)])
    floor = _apart(search.ratios(pool), values)
    constraint = search.outcome_constraint
    if constraint is not None:
        met = constraint.met(surrogate, search.ratios(pool[floor]))
        floor = [place for place, fits in zip(floor, met, strict=True) if fits]
    if not floor:
        return best
    order = neighbor_utilities(search.ratios(pool[floor]), ratios[known], measured[known])
    return np.asarray(pool[floor[int(order.argmax())]])


def note_far_neighbors(runs: Array) -> tuple[str, ...]:
    """Return a warning where runs lie too far apart for neighbors to choose, else nothing.

    Args:
        runs: Mixtures that were measured (`r x d`).
    """
    usual = _usual_distance(runs)
    if usual < FAR:
        return ()
    return (
        f"Runs are usually {usual:.2f} apart (total variation), and neighbors choose well where they "
        f"are within {FAR:g}: choose_by: surrogate is better here.",
    )


def _usual_distance(runs: Array) -> float:
    """Return the median distance of a mixture of runs (`r x d`) from its nearest other; 0 of one."""
    _, places = np.unique(group_repeats(runs), return_index=True)
    runs = runs[np.sort(places)]
    if len(runs) < 2:
        return 0.0
    nearest = np.empty(len(runs))
    # in slices: all distances of large tables would be `r x r` numbers
    step = max(1, CHUNK // len(runs))
    for start in range(0, len(runs), step):
        among = _total_variation(runs[start : start + step], runs)
        own = np.arange(len(among))
        among[own, start + own] = np.inf
        nearest[start : start + step] = among.min(axis=1)
    return float(np.median(nearest))


def _apart(ratios: Array, values: Array) -> list[int]:
    """Return the places of the `FLOOR` best candidates that are not the same mixture."""
    left = np.argsort(-values, kind="stable")
    chosen: list[int] = []
    while len(left) and len(chosen) < FLOOR:
        chosen.append(int(left[0]))
        left = left[hellinger(ratios[left], ratios[chosen[-1:]])[:, 0] > SAME]
    return chosen


def _total_variation(first: Array, second: Array) -> Array:
    """Return half the sum of absolute differences (`a x b`) of mixtures `a x d` and `b x d`."""
    return np.stack([0.5 * np.abs(row - second).sum(axis=1) for row in first])
