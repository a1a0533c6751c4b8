"""Online Data Mixing: a bandit draws the domains of each batch, with their training loss as reward.

Albalak et al. 2023, arXiv:2312.02406, as EXP3 in alon-albalak/online-data-mixing: with the step t, a
loss L_i of a domain with the share b_i of the batch and the probability π_i it was drawn with,

    R_i ← R_i + b_i L_i / (10 π_i)        ε_t = min(1/d, √(ln d / (d t)))
    π_i = (1 − d ε_t) e^(ε_(t−1) R_i) / Σ_j e^(ε_(t−1) R_j) + ε_t

Their batch has one domain, b_i = 1; here it is a mean over draws, which has the same expectation. It
is a schedule, not a mixture: the mean of π over the training stands for it. See docs/methods.md,
section 12.9.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixopt.baselines.base import Need, OnlineTraining, Problem, Recommendation
from mixopt.mixture import Array

REWARD_SCALE = 10.0
"""Losses are divided by it."""


class Exp3Weights:
    """The probabilities of one training.

    Args:
        start: Probabilities during the warm-up (`d`).
        warmup: Steps of the warm-up, whose rewards count already.
    """

    learn_first: ClassVar[bool] = False

    def __init__(self, start: Array, warmup: int) -> None:
        self.weights, self._warmup = np.asarray(start, dtype=np.float64), warmup
        self._rewards, self._step = np.zeros(len(start)), 0
        self._epsilon = 1 / len(start)

    @property
    def shares(self) -> Array:
        """Return the probabilities."""
        return self.weights

    @property
    def loss_weights(self) -> Array:
        """Return the same weight for every sequence."""
        return np.ones(len(self.weights))

    def update(self, losses: Array, read: Array) -> None:
        """Add the rewards of the domains of a batch, and draw by them after the warm-up.

        Args:
            losses: Mean loss of each domain (`d`), NaN for one without a sequence.
            read: Share of each domain in the batch (`d`).
        """
        d = len(self.weights)
        self._step += 1
        known = np.isfinite(losses)
        drawn = read[known] / self.weights[known]
        self._rewards[known] += drawn * losses[known] / REWARD_SCALE
        before = self._epsilon
        self._epsilon = min(1 / d, float(np.sqrt(np.log(d) / (d * self._step))))
        if self._step <= self._warmup:
            return
        raised = np.exp(before * (self._rewards - self._rewards.max()))
        self.weights = (1 - d * self._epsilon) * raised / raised.sum() + self._epsilon

    def state(self) -> dict[str, list[float]]:
        """Return probabilities, rewards, step and ε."""
        return {
            "weights": self.weights.tolist(),
            "rewards": self._rewards.tolist(),
            "counters": [float(self._step), self._epsilon],
        }

    def restore(self, state: dict[str, list[float]]) -> None:
        """Take what `state` returned."""
        self.weights, self._rewards = np.array(state["weights"]), np.array(state["rewards"])
        self._step, self._epsilon = int(state["counters"][0]), state["counters"][1]


@dataclass(frozen=True)
class OnlineDataMixing:
    """The method; it trains one model as long as a run.

    Attributes:
        warmup: Share of the steps that read natural.
    """

    warmup: float = 0.01
    need: ClassVar[Need] = "online"
    source: ClassVar[str] = "ODM, arXiv:2312.02406"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of the training."""
        return run_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Train, and return the mean of the probabilities over the steps."""
        start = np.maximum(problem.natural, 1e-6)
        training = OnlineTraining(
            "odm", problem.run_tokens, tuple(start / start.sum()), {"warmup": self.warmup}
        )
        path = problem.train_online(training)
        return problem.recommend(path.mean(axis=0), path=path)
