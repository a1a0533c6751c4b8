"""POINTS: a greedy soup of models that were each trained on other data.

Liu et al. 2024, arXiv:2409.04828, with the greedy soup of Wortsman et al. 2022, arXiv:2203.05482: models
are sorted by their score, and one is added to the plain average unless the score drops. The recommended
ratios are those that the average stands for. See docs/methods.md, section 12.6.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixopt.baselines.base import Need, Problem, Recommendation
from mixopt.baselines.swarm import drop_failed


@dataclass(frozen=True)
class Points:
    """The method; it trains nothing beside the experts."""

    need: ClassVar[Need] = "experts"
    source: ClassVar[str] = "POINTS, arXiv:2409.04828"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of the experts."""
        return experts_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Add experts to the soup, the best first; limits move an average inside."""
        space = problem.combinations
        alone = np.eye(len(space.experts))
        alone, losses = drop_failed(alone, problem.losses(problem.merges(alone)))
        order = np.argsort(losses @ problem.weights, kind="stable")
        soup: list[int] = []
        best, least, found = space.centre, np.inf, losses[order[0]]
        for index in order.tolist():
            mean = alone[[*soup, index]].mean(axis=0)
            weights = space.pull(mean[None])
            own = problem.losses(problem.merges(weights))[0]
            loss = float(own @ problem.weights)
            if loss <= least:  # not for NaN, a merge that could not be scored
                soup.append(index)
                best, least, found = weights[0], loss, own
        return problem.recommend(space.ratios(best[None])[0], found)
