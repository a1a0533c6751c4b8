"""The confirmation of a budget: what its unused seeds gain, and what was expected of them.

Shapes: `d` domains, `m` metrics that choose.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixopt.estimate import Estimate
from mixopt.mixture import Array
from mixopt.optimization.objective import Objective
from mixopt.pipeline.gains import Observation, StudyGains
from mixopt.pipeline.mixture_runs import FRESH
from mixopt.surrogates.gain_model import SAME, GainPosterior, Mixtures, Runs


@dataclass(frozen=True, eq=False)
class UnusedSeeds:
    """What the runs of a confirmation gain over natural.

    Attributes:
        gain: The mean over their seeds, in the objective's unit at their length.
        candidate: The mixture at that length (one row).
        weights: Of metrics, by which it is judged (`1 x m`).
    """

    gain: Estimate
    candidate: Mixtures
    weights: Array

    @property
    def tokens(self) -> int:
        """Length of the runs."""
        return int(self.candidate.tokens[0])

    def expected_by(self, posterior: GainPosterior) -> Estimate:
        """Return the gain of the same runs that a posterior expects, without their noise.

        Args:
            posterior: Of gains over natural, given other runs.
        """
        mean, covariance = posterior.gains(self.candidate, self.weights)
        return Estimate(float(mean[0, 0]), float(np.sqrt(max(covariance.item(), 0.0))))


def read_unused_seeds(
    runs: Runs | None, candidate: Array, objective: Objective, posterior: GainPosterior
) -> UnusedSeeds | None:
    """Return what the unused seeds of a candidate gain; None without any.

    Args:
        runs: Of other mixtures than natural.
        candidate: Its ratios (`d`).
        objective: The study's.
        posterior: Of gains given all runs, whose noise is that of the mean.
    """
    if runs is None:
        return None
    mine = (np.abs(runs.ratios - candidate).max(axis=1) < SAME) & (runs.seeds >= FRESH)
    mine &= runs.tokens == runs.tokens[mine].max(initial=0.0)
    if not mine.any():
        return None
    at = runs.pick([int(mine.argmax())])
    growth = posterior.model.prior.growth_to(float(at.tokens[0]) / posterior.model.expert_tokens)
    combinations = replace(objective, growth=growth).combinations()
    # the worst capability is that of the mean: the mean of the worst would be of their noise
    gains = runs.gains[mine].mean(axis=0) @ combinations.T
    worst = int(gains.argmin())
    noise = posterior.model.combined_noise(combinations)[worst]
    gain = Estimate(float(gains[worst]), float(noise / np.sqrt(mine.sum())))
    return UnusedSeeds(gain, at, combinations[[worst]])


def condition_before(gains: StudyGains, observed: Sequence[Observation]) -> GainPosterior:
    """Return the posterior of gains over natural given all runs but those of a confirmation.

    Args:
        gains: The study's.
        observed: All runs.
    """
    return gains.condition(
        gains.observe([each for each in observed if each.seed < FRESH])
    ).over_natural
