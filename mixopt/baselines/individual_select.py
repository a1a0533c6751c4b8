"""Individual Select: data sets are added one at a time, each time the one that gains most.

Liu et al. 2024, arXiv:2405.11850, with which POINTS (arXiv:2409.04828) chooses its data: of the data
sets that are left the one with the largest gain is added, until none helps. The authors train a model on
every set; here the plain average of the experts of a set stands for it. The recommended ratios are those
that the last average stands for. See docs/methods.md, section 12.6.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixopt.baselines.base import Need, Problem, Recommendation
from mixopt.baselines.swarm import drop_failed


@dataclass(frozen=True)
class IndividualSelect:
    """The method; it trains nothing beside the experts, and scores at most k (k + 1) ÷ 2 averages."""

    need: ClassVar[Need] = "experts"
    source: ClassVar[str] = "Individual Select, arXiv:2405.11850"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of the experts."""
        return experts_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Add the expert with the largest gain until none gains; limits move an average inside."""
        space = problem.combinations
        alone = np.eye(len(space.experts))
        chosen: list[int] = []
        best, least, found = space.centre, np.inf, np.zeros(0)
        while len(chosen) < len(alone):
            left = [index for index in range(len(alone)) if index not in chosen]
            weights = space.pull(np.stack([alone[[*chosen, i]].mean(axis=0) for i in left]))
            losses = problem.losses(problem.merges(weights))
            if not chosen:
                drop_failed(weights, losses)
            means = losses @ problem.weights
            if not np.isfinite(means).any() or not np.nanmin(means) < least:
                break
            first = int(np.nanargmin(means))
            chosen.append(left[first])
            best, least, found = weights[first], float(means[first]), losses[first]
        return problem.recommend(space.ratios(best[None])[0], found if len(found) else None)
