"""Marin's 16 runs: a D-optimal design over features of a mixture, and Bayesian linear regression.

marin-community/marin, issue 3489 and experiments/domain_phase_mix/static_batch_selection.py
(`feature_bayes_linear`), for one phase: features are ratios, epochs, the entropy of the ratios and the
share of ratios at a border, standardized over the pool; a run is added where it raises the information
most, log det(ΦᵀΦ + 10⁻³ I). Marin fits a law of its own to the runs; here it is the linear model that
the design is optimal for. See docs/methods.md, section 12.7.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.linear_model import BayesianRidge

from mixopt.baselines.base import Need, Problem, Recommendation
from mixopt.baselines.swarm import drop_failed, train_swarm
from mixopt.mixture import Array

RIDGE = 1e-3
BORDER = 0.05
"""A ratio nearer to 0 or 1 than this lies at a border."""
SAME = 1e-8
LEAST_RUNS = 3


@dataclass(frozen=True)
class DOptimal:
    """The method.

    Attributes:
        runs: Most runs that it trains.
        pool: Mixtures that runs and the recommendation are chosen from.
    """

    runs: int = 16
    pool: int = 2048
    need: ClassVar[Need] = "runs"
    source: ClassVar[str] = "marin-community/marin, issue 3489"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of the fewest runs."""
        return LEAST_RUNS * run_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Choose and train the runs; return the mixture of the pool with the lowest expected loss."""
        pool = np.vstack([
            problem.mixtures.pull(problem.natural[None]),
            problem.mixtures.sample(self.pool - 1, problem.rng(1)),
        ])  # fmt: skip
        raw = features(pool, problem.epochs)
        mean, spread = raw.mean(axis=0), raw.std(axis=0)
        spread = np.where(spread > SAME, spread, 1.0)
        n = min(self.runs, problem.affordable_runs)
        chosen = choose_d_optimal((raw - mean) / spread, n)
        bought = np.vstack([problem.natural, pool[chosen[1:]]])
        ratios, scores = train_swarm(problem, bought)
        ratios, losses = drop_failed(ratios, problem.losses(scores))
        terms = (features(ratios, problem.epochs) - mean) / spread
        everything = (raw - mean) / spread
        predicted = []
        for column in losses.T:
            known = np.isfinite(column)
            predicted.append(BayesianRidge().fit(terms[known], column[known]).predict(everything))
        values = np.stack(predicted, axis=1)
        best = int((values @ problem.weights).argmin())
        return problem.recommend(pool[best], values[best])


def features(ratios: Array, epochs: Array) -> Array:
    """Return the features of mixtures (`n x d`): ratios, epochs, entropy, share at a border.

    Args:
        ratios: Mixtures (`n x d`).
        epochs: How often a domain is read at a ratio of 1 (`d`).
    """
    logs = np.log(np.maximum(ratios, 1e-300))
    entropy = -np.where(ratios > SAME, ratios * logs, 0.0).sum(axis=1) / np.log(ratios.shape[1])
    border = ((ratios <= BORDER) | (ratios >= 1 - BORDER)).mean(axis=1)
    return np.column_stack([ratios, ratios * epochs, entropy, border])


def choose_d_optimal(terms: Array, n: int) -> list[int]:
    """Return `n` rows that are added greedily where log det(ΦᵀΦ + 10⁻³ I) grows most.

    The first row is the first one; each next has the largest φᵀ(ΦᵀΦ + 10⁻³ I)⁻¹φ.

    Args:
        terms: Features of the pool (`p x f`); a constant is added.
        n: Number of rows.
    """
    rows = np.column_stack([np.ones(len(terms)), terms])
    inverse = np.eye(rows.shape[1]) / RIDGE
    chosen: list[int] = []
    for _ in range(min(n, len(rows))):
        gains = ((rows @ inverse) * rows).sum(axis=1)
        gains[chosen] = -np.inf
        best = int(gains.argmax()) if chosen else 0
        chosen.append(best)
        moved = inverse @ rows[best]
        inverse = inverse - np.outer(moved, moved) / (1 + rows[best] @ moved)
    return chosen
