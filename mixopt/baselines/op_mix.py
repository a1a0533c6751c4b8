"""OP-Mix: merges of probes around the current model, and the exact minimum of a log-linear law.

arXiv:2605.15220. Each probe is trained on 90% of one domain and 10% of the old mixture from the current
checkpoint, as LoRA factors (rank 16, alpha 32, twice the rate): in a study that is
`training: {method: lora, anchor_share: 0.1}`. Merges are made of full deltas in float32. The law is a
function of the ratios that a merge stands for, as in michahu/on-policy-mix. See docs/methods.md, section
12.3, also for what differs.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixopt.baselines.base import Need, Problem, Recommendation
from mixopt.baselines.log_linear_law import RESTARTS, fit_log_linear_law
from mixopt.baselines.swarm import drop_failed, list_own_domains

RETRY = "the messages before name what merges failed with: fix it and run again"
"""The number of merges does not depend on a budget."""


@dataclass(frozen=True)
class OpMix:
    """The method; it trains nothing beside the experts.

    Attributes:
        merges: Number of merges that are scored, at least the law's parameters.
        kl: Penalty on a divergence of one nat from natural.
        restarts: Starts of the fit of each law.
    """

    merges: int = 20
    kl: float = 0.05
    restarts: int = RESTARTS
    need: ClassVar[Need] = "experts"
    source: ClassVar[str] = "OP-Mix, arXiv:2605.15220"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of the probes."""
        return experts_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Score the merges, fit the laws and return the exact minimum."""
        space = problem.combinations
        n = max(self.merges, len(problem.space.domains) + 2)
        natural, _ = space.weights_for(problem.natural)
        weights = np.vstack([space.pull(natural[None]), space.sample(n - 1, problem.rng(1))])
        losses = problem.losses(problem.merges(weights))
        ratios, losses = drop_failed(space.ratios(weights), losses)
        law = fit_log_linear_law(
            ratios, losses, list_own_domains(problem), problem.rng(2), restarts=self.restarts,
            remedy=RETRY,
        )  # fmt: skip
        best = space.ratios(law.best_weights(space, problem.weights, self.kl)[None])[0]
        return problem.recommend(best, law.losses(best[None])[0])
