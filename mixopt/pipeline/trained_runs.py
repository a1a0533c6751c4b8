"""The runs that a study really trained, with their gains, for readers of its report."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mixopt.mixture import Array, Mixture
from mixopt.optimization.objective import Objective
from mixopt.pipeline.gains import Observation
from mixopt.pipeline.mixture_runs import FRESH
from mixopt.report.data import TrainedRun
from mixopt.surrogates.gain_model import SAME, GainPrior
from mixopt.trial import Metric


def list_trained_runs(
    observations: Sequence[Observation],
    metrics: Sequence[Metric],
    natural: Mixture,
    domains: Sequence[str],
    objective: Objective | None,
    expert_tokens: int,
) -> list[TrainedRun]:
    """Return runs with their gain over the natural run of the same seed and length.

    A gain is in the unit at the run's own length, so that runs of all lengths, and what is expected of
    the target's, stand on one axis.

    Args:
        observations: The runs.
        metrics: Of their scores (`m`).
        natural: The natural mixture.
        domains: In the order of the runs' ratios.
        objective: The unit of the gains; without one, or where its metrics are not these, gains are NaN.
        expert_tokens: Tokens of an expert, from which the unit grows.
    """
    reference = natural.vector(domains)
    naturals = {
        (each.seed, each.tokens): each.scores
        for each in observations
        if not each.failed and np.abs(each.ratios - reference).max() < SAME
    }
    names = [metric.name for metric in metrics]
    measured = () if objective is None else objective.metrics
    known = bool(measured) and all(metric.name in names for metric in measured)
    runs = []
    for each in observations:
        gain = float("nan")
        paired = naturals.get((each.seed, each.tokens))
        if objective is not None and known and paired is not None and each.scores is not paired:
            places = [names.index(metric.name) for metric in objective.metrics]
            growth = GainPrior().growth_to(each.tokens / expert_tokens)
            own = replace(objective, growth=growth)
            gain = _gain(own, each.scores[places], paired[places])
        runs.append(TrainedRun(
            Mixture.from_vector(domains, each.ratios), each.seed, each.tokens, gain, each.failed,
            each.seed >= FRESH,
        ))  # fmt: skip
    return runs


def _gain(objective: Objective, scores: Array, reference: Array) -> float:
    gains = objective.gains(scores[None], reference)
    return float((gains @ objective.combinations().T).min())
