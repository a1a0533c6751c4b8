"""Olmix's log-linear law of each loss, its fit, and the exact mixture with a penalty on the divergence.

    L_i(p) = c_i + exp(t_i · p)            minimize Σ_i w_i exp(t_i · p) + κ KL(p ‖ natural)

(allenai/olmix; the law is that of Ye et al. 2024, arXiv:2403.16952). The problem is convex.
Shapes: `n` mixtures, `d` domains, `m` metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixopt.baselines.base import MORE_RUNS
from mixopt.baselines.minimize import divergence, minimize_over
from mixopt.errors import TrialsError
from mixopt.mixture import Array
from mixopt.optimization.weight_space import WeightSpace
from mixopt.surrogates.minimize import minimize

RESTARTS = 300
"""Starts of each fit in allenai/olmix: 10 floors with 30 draws of the slopes."""
FLOORS = np.linspace(-2.0, 1.5, 10)
"""log c of the starts."""
HUBER = 0.02
"""Residual from which the loss is linear, in the unit of the losses."""
SCALE = 100.0
"""Factor on the sum of losses, so that L-BFGS stops at a change of 1e-9 as theirs does: what stops the
fit is its only regularization."""
FIRST_STEPS, STEPS, KEPT = 20, 2000, 10
"""Iterations from every start, and of the best of them to the end."""
LARGEST_EXPONENT = 50.0


@dataclass(frozen=True, eq=False)
class LogLinearLaw:
    """Losses as functions of the mixture.

    Attributes:
        floors: c (`m`).
        slopes: t (`m x d`).
    """

    floors: Array
    slopes: Array

    def losses(self, ratios: Array) -> Array:
        """Return losses (`n x m`) at mixtures (`n x d`)."""
        inner = np.minimum(ratios @ self.slopes.T, LARGEST_EXPONENT)
        return np.asarray(self.floors + np.exp(inner))

    def best_weights(self, space: WeightSpace, metric_weights: Array, kl: float) -> Array:
        """Return the allowed weights (`k`) with the smallest mean loss and penalty.

        Args:
            space: Weights and what ratios they stand for.
            metric_weights: Of each loss in the mean (`m`).
            kl: κ, the penalty on a divergence of one nat from the natural mixture.
        """
        prior = space.space.prior_vector()

        def value(weights: Array) -> tuple[float, Array]:
            ratios = space.ratios(weights[None])[0]
            own = metric_weights * np.exp(np.minimum(self.slopes @ ratios, LARGEST_EXPONENT))
            apart, slope = divergence(ratios, prior)
            gradient = own @ self.slopes + kl * slope
            return float(own.sum() + kl * apart), space.composition @ gradient

        starts = np.stack([space.weights_for(prior)[0], space.centre])
        return minimize_over(space, value, starts)


def fit_log_linear_law(
    ratios: Array,
    losses: Array,
    own_domains: Sequence[int | None],
    rng: np.random.Generator,
    *,
    restarts: int = RESTARTS,
    remedy: str = MORE_RUNS,
) -> LogLinearLaw:
    """Fit the law of each loss by Huber's loss from many starts; the best end is kept.

    Args:
        ratios: Mixtures (`n x d`).
        losses: Their losses (`n x m`), NaN where missing.
        own_domains: Index of the domain that a metric belongs to (`m`): its slope starts negative.
        rng: Draws the starts.
        restarts: Number of starts of each fit.
        remedy: What to do where too few mixtures have a score.

    Raises:
        TrialsError: A loss is negative, or a metric has fewer losses than the law has parameters.
    """
    d = ratios.shape[1]
    floors, slopes = [], []
    for column, own in zip(losses.T, own_domains, strict=True):
        known = np.isfinite(column)
        if known.sum() < d + 1:
            raise TrialsError(
                f"The log-linear law has {d + 1} parameters for {d} domains and {known.sum()} mixtures "
                f"have a score; {remedy}."
            )
        # a loss of 0, where every answer is right, is a limit of the law: no floor, and slopes down
        if column[known].min() < 0:
            raise TrialsError(
                f"The log-linear law has no negative losses and one is {column[known].min():.3g}; "
                "choose by losses, or by shares of right answers."
            )
        fitted = _fit_one(ratios[known], column[known], own, rng, restarts)
        floors.append(np.exp(fitted[0]))
        slopes.append(fitted[1:])
    return LogLinearLaw(np.array(floors), np.stack(slopes))


def _fit_one(
    ratios: Array, losses: Array, own: int | None, rng: np.random.Generator, restarts: int
) -> Array:
    """Return log c and t (`d + 1`) with the smallest Huber loss."""

    def objective(parameters: Array) -> tuple[float, Array]:
        floor = np.exp(np.minimum(parameters[0], LARGEST_EXPONENT))
        power = np.exp(np.minimum(ratios @ parameters[1:], LARGEST_EXPONENT))
        residual = floor + power - losses
        clipped = np.clip(residual, -HUBER, HUBER)
        value = float((clipped * (residual - clipped / 2)).sum())
        gradient = np.append(floor * clipped.sum(), (clipped * power) @ ratios)
        return SCALE * value, SCALE * gradient

    d = ratios.shape[1]
    bounds = np.tile([-np.inf, np.inf], (d + 1, 1))

    def descend(start: Array, steps: int) -> Array:
        return minimize(objective, start, method="L-BFGS-B", bounds=bounds, steps=steps,
                        tolerance=1e-9 * SCALE)  # fmt: skip

    first = []
    for index in range(restarts):
        start = np.append(FLOORS[index % len(FLOORS)], 0.1 * rng.random(d))
        if own is not None:
            start[1 + own] = -rng.random()
        first.append(descend(start, FIRST_STEPS))
    first.sort(key=lambda end: objective(end)[0])
    return min((descend(end, STEPS) for end in first[:KEPT]), key=lambda end: objective(end)[0])
