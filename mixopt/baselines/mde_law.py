"""MDE with a law: ridge regression of each loss on the ratios and the losses of the experts' ensembles.

Belenki et al. 2025, arXiv:2502.15950: L_MDE(λ) is the loss of Σ_i λ_i p_i, which costs arithmetic only,
and `Linear + MDE` had the smallest error of their predictors with 25 training mixtures. They search with
Vizier; here a pool is searched and its best are refined. See docs/methods.md, section 12.4.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.linear_model import RidgeCV

from mixopt.baselines.base import MORE_RUNS, Need, Problem, Recommendation
from mixopt.baselines.swarm import drop_failed, train_swarm
from mixopt.errors import TrialsError
from mixopt.mixture import Array
from mixopt.optimization.design import perturb
from mixopt.optimization.weight_space import WeightSpace

LEAST_RUNS = 6
PENALTIES = np.logspace(-4, 2, 13)
TOP = 8
"""Best mixtures of the pool that a refinement perturbs."""
SPREAD_FLOOR = 1e-12


@dataclass(frozen=True)
class MdeLaw:
    """The method; what the experts leave of the budget is spent on runs.

    Attributes:
        pool: Mixtures whose ensembles are scored to find the best.
        refinements: Times that as many more are drawn around the best.
    """

    pool: int = 256
    refinements: int = 2
    need: ClassVar[Need] = "experts"
    source: ClassVar[str] = "MDE, arXiv:2502.15950"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of the experts and of the fewest runs."""
        return experts_tokens + LEAST_RUNS * run_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Train the runs, fit the law of each loss and return the best mixture of the pool."""
        problem.ensembles(
            np.eye(len(problem.combinations.experts))[:1]
        )  # the experts are paid first
        n, space = problem.affordable_runs, problem.combinations
        drawn = problem.mixtures.sample(max(0, n - 1), problem.rng(1))
        ratios, scores = train_swarm(problem, np.vstack([problem.natural, drawn])[:n])
        ratios, losses = drop_failed(ratios, problem.losses(scores))
        law = _Law(problem, space, ratios, losses)
        pool = space.sample(self.pool, problem.rng(2))
        values = law.losses(pool)
        for turn in range(self.refinements):
            best = pool[np.argsort(values @ problem.weights, kind="stable")[:TOP]]
            more = perturb(space, best, self.pool, problem.rng(3, turn))
            pool, values = np.vstack([pool, more]), np.vstack([values, law.losses(more)])
        chosen = int((values @ problem.weights).argmin())
        return problem.recommend(space.ratios(pool[chosen][None])[0], values[chosen])


class _Law:
    def __init__(self, problem: Problem, space: WeightSpace, ratios: Array, losses: Array) -> None:
        self._problem, self._space = problem, space
        weights = np.stack([space.weights_for(row)[0] for row in ratios])
        # anchored experts cannot make every run: the linear terms are the ratios that it was trained on
        terms = self._terms(ratios, weights)
        self._mean, self._spread = terms.mean(axis=0), np.maximum(terms.std(axis=0), SPREAD_FLOOR)
        self._models = []
        for column in losses.T:
            known = np.isfinite(column)
            if known.sum() < LEAST_RUNS:
                raise TrialsError(
                    f"The law of MDE is fitted to {known.sum()} runs with a score and needs "
                    f"{LEAST_RUNS}; {MORE_RUNS}."
                )
            model = RidgeCV(PENALTIES).fit(self._scaled(terms)[known], column[known])
            self._models.append(model)

    def _terms(self, ratios: Array, weights: Array) -> Array:
        ensembles = self._problem.losses(self._problem.ensembles(weights))
        return np.hstack([ratios, ensembles])

    def _scaled(self, terms: Array) -> Array:
        return np.asarray((terms - self._mean) / self._spread)

    def losses(self, weights: Array) -> Array:
        """Return the predicted losses (`n x m`) at weights of the experts (`n x k`)."""
        terms = self._scaled(self._terms(self._space.ratios(weights), weights))
        return np.stack([model.predict(terms) for model in self._models], axis=1)
