"""Merges of the experts as a check of what ensembles chose: the candidate, and the best beside it.

Shapes: `q` mixtures, `d` domains, `m` metrics that choose.
"""

from dataclasses import replace

import numpy as np

from mixopt.decision import MergeCheck
from mixopt.estimate import Z95, Estimate
from mixopt.io.progress import track
from mixopt.mixture import Array
from mixopt.pipeline.gains import StudyGains
from mixopt.surrogates.metric_arrays import signs

NEIGHBOURS = 4


def check_by_merges(gains: StudyGains, candidate: Array, others: Array) -> MergeCheck:
    """Return what merges say of a candidate and of other good mixtures.

    Gains of merges are those of training as long as the experts, in the spread there.

    Args:
        gains: The experts, and the unit.
        candidate: Ratios (`d`).
        others: The next best mixtures, the best first (`q x d`); the first `NEIGHBOURS` are merged.
    """
    search, objective = gains.search, gains.objective
    combinations = replace(objective, growth=1.0).combinations()
    names = [metric.name for metric in objective.metrics]
    rows = np.vstack([gains.natural, candidate, others[:NEIGHBOURS]])
    results = []
    for row in track(rows, "checking by merges", total=len(rows), unit="merge"):
        weights = search.space.weights_for(row)[0]
        results.append(search.evaluator.score(weights.tolist())["merged"])
    differences = [[each[name].minus(results[0][name]) for name in names] for each in results[1:]]
    means, errors = np.moveaxis(np.array(differences), -1, 0)
    utilities = means * signs(objective.metrics) / objective.spreads @ combinations.T
    own = int(utilities[0].argmin())
    weights = combinations[own] / objective.spreads
    best = utilities.min(axis=1)
    paired = [[each[name].minus(results[1][name])[1] for name in names] for each in results[2:]]
    noise = np.linalg.norm(weights * np.array(paired).reshape(-1, len(names)), axis=1)
    return MergeCheck(
        gain=Estimate(float(best[0]), float(np.linalg.norm(weights * errors[0]))),
        better=int((best[1:] - best[0] > Z95 * noise).sum()),
        neighbours=len(best) - 1,
    )
