"""Merge to Mix: the subset of the datasets whose experts' plain average scores best.

Tao et al. 2025, arXiv:2505.16066: one model is fine-tuned on each dataset, the unweighted average of
the models of a subset stands for a model fine-tuned on the subset, and every subset is scored. It
includes or leaves out; the ratios of what is included are equal. See docs/methods.md, section 12.5.
"""

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from mixopt.baselines.base import Need, Problem, Recommendation
from mixopt.baselines.swarm import drop_failed
from mixopt.errors import UserError


@dataclass(frozen=True)
class MergeToMix:
    """The method; it trains nothing beside the experts.

    Attributes:
        most_subsets: Number of subsets up to which all of them are scored.
    """

    most_subsets: int = 1023
    need: ClassVar[Need] = "experts"
    source: ClassVar[str] = "Merge to Mix, arXiv:2505.16066"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of the experts."""
        return experts_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Score the average of every subset and return the best; limits move an average inside."""
        space = problem.combinations
        k = len(space.experts)
        self.require_few(k)
        subsets = np.array([row for row in product((0.0, 1.0), repeat=k) if any(row)])
        weights = np.unique(space.pull(subsets / subsets.sum(axis=1, keepdims=True)), axis=0)
        weights, losses = drop_failed(weights, problem.losses(problem.merges(weights)))
        mean = losses @ problem.weights
        best = int(np.where(np.isfinite(mean), mean, np.inf).argmin())
        return problem.recommend(space.ratios(weights[best : best + 1])[0], losses[best])

    def require_few(self, k: int) -> None:
        """Check that every subset of `k` experts can be scored.

        Raises:
            UserError: There are more than `most_subsets`.
        """
        if 2**k - 1 > self.most_subsets:
            raise UserError(
                f"merge-to-mix scores every subset of the {k} experts, {2**k - 1:,} merges, and at most "
                f"{self.most_subsets:,} are scored; use fewer domains, or method points, which adds one "
                "expert at a time."
            )
