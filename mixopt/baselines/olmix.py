"""Olmix: a log-linear law of each loss over a swarm of runs, and the exact mixture with a KL penalty.

allenai/olmix (defaults of its exact proposer). The swarm is drawn around natural.
See docs/methods.md, section 12.2.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixopt.baselines.base import Need, Problem, Recommendation
from mixopt.baselines.log_linear_law import RESTARTS, fit_log_linear_law
from mixopt.baselines.swarm import drop_failed, list_own_domains, train_swarm


@dataclass(frozen=True)
class Olmix:
    """The method; it trains as many runs as the budget pays for.

    Attributes:
        kl: Penalty on a divergence of one nat from natural (`kl_reg` of their proposer).
        restarts: Starts of the fit of each law.
    """

    kl: float = 0.1
    restarts: int = RESTARTS
    need: ClassVar[Need] = "runs"
    source: ClassVar[str] = "Olmix, allenai/olmix"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of a run for each of the law's `d + 1` parameters."""
        return (d + 1) * run_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Train the swarm, fit the laws and return the exact minimum."""
        n = problem.affordable_runs
        drawn = problem.mixtures.sample(max(0, n - 1), problem.rng(1))
        ratios, scores = train_swarm(problem, np.vstack([problem.natural, drawn])[:n])
        ratios, losses = drop_failed(ratios, problem.losses(scores))
        law = fit_log_linear_law(
            ratios, losses, list_own_domains(problem), problem.rng(2), restarts=self.restarts
        )
        best = law.best_weights(problem.mixtures, problem.weights, self.kl)
        return problem.recommend(best, law.losses(best[None])[0])
