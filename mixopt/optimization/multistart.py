"""Multi-start SLSQP over weights: the best by the differentiable surrogate models, within all limits.

Trees have no gradient and are covered by random candidates in `optimize`. Outcome constraints
depend on the surrogate and enter with the uncertainty at the current mixture.
See docs/methods.md, section 7.5. Shapes: `k` weights, `d` domains, `m` metrics, `n` mixtures.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import ndtr

from mixopt.mixture import Array
from mixopt.optimization.outcome_constraint import OutcomeConstraint
from mixopt.optimization.polytope import linear_constraints
from mixopt.optimization.weight_space import WeightSpace
from mixopt.surrogates.minimize import minimize
from mixopt.surrogates.surrogate import Surrogate

STEPS = 60  # iterations of SLSQP
TOLERANCE = 1e-5  # change of the objective at which SLSQP stops
CONSTRAINT_ROUNDS = 3
"""Times that the uncertainty of an outcome constraint is updated at the mixture reached."""
PER_GAIN = 0.01
"""Probability that counts as much as one standard deviation (over trials) of expected gain."""
DIFFERENCE = 1e-5  # step of finite differences


@dataclass(frozen=True, eq=False)
class Goal:
    """The objective: the expected utility, or the probability of beating a reference.

    The probability alone is as high for a tiny sure gain as for a large one, so the expected gain
    is added to it.

    Attributes:
        surrogate: Predicts utilities.
        reference: The mixture (`d`) to beat, or None to maximize the expected utility.
    """

    surrogate: Surrogate
    reference: Array | None = None

    def values(self, ratios: Array) -> Array:
        """Return the objective (`n`) by the whole stacked model at ratios (`n x d`)."""
        if self.reference is None:
            return self.surrogate.predict_utility(ratios)[0]
        gain, std = self.surrogate.utility_difference(ratios, self.reference)
        # at the reference itself gain and std are zero, and the probability is 0.5
        chance = ndtr(np.where(std > 0, gain / np.maximum(std, 1e-12), 0.0))
        return np.asarray(chance / PER_GAIN + gain / self._usual)

    @cached_property
    def _usual(self) -> float:
        usual = float(np.nanstd(self.surrogate.observed_utilities(self.surrogate.trials)))
        return usual if usual > 0 else 1.0

    def with_gradient(self, ratios: Array) -> tuple[float, Array]:
        """Return value and gradient (`d`) by the differentiable models at one mixture (`d`)."""
        if self.reference is None:
            value, gradient = self.surrogate.smooth_utility(ratios[None])
            return float(value[0]), gradient[0]
        steps = DIFFERENCE * np.eye(len(ratios))
        values = self.values(np.vstack([ratios, np.abs(ratios + steps)]))
        return float(values[0]), np.asarray((values[1:] - values[0]) / DIFFERENCE)


def maximize(
    goal: Goal,
    space: WeightSpace,
    order: list[int],
    starts: Array,
    outcome_constraint: OutcomeConstraint | None = None,
) -> Array:
    """Maximize a goal from several starts.

    Args:
        goal: The objective.
        space: Weights and their limits.
        order: Index of each of the surrogate's domains in the space.
        starts: Feasible weights (`n x k`).
        outcome_constraint: Metrics that must not get worse.

    Returns:
        The feasible weights (`n x k`) reached.
    """
    composition = space.composition[:, order]

    def objective(weights: Array) -> tuple[float, Array]:
        value, gradient = goal.with_gradient(_proper(composition.T @ weights))
        return -value, -composition @ gradient

    bounds, linear = limits_of(space)
    ends = []
    for start in starts:
        end = start
        for _ in range(CONSTRAINT_ROUNDS if outcome_constraint else 1):
            constraints = list(linear)
            if outcome_constraint:
                limit = _outcome_limits(goal.surrogate, outcome_constraint, composition, end)
                constraints.append(limit)
            moved = minimize(objective, end, method="SLSQP", bounds=bounds, steps=STEPS,
                             constraints=constraints, tolerance=TOLERANCE)  # fmt: skip
            # SLSQP may diverge; the start is kept then
            end = moved if np.isfinite(moved).all() and moved.sum() > 0 else end
        end = np.maximum(end, 0.0)
        ends.append(end / end.sum())
    return space.pull(np.stack(ends))


def limits_of(space: WeightSpace) -> tuple[Array, list[dict[str, Any]]]:
    """Return the limits on weights in SLSQP's form.

    Args:
        space: Weights of `k` experts.

    Returns:
        Box bounds (`k x 2`), and constraints from the other limits.
    """
    normals, lows, highs = space.limits
    bounds, rows = _split_bounds(normals, lows, highs)
    linear = linear_constraints(normals[rows], lows[rows], highs[rows])
    if space.space.max_kl is not None:
        linear.append(_within_kl(space))
    return bounds, linear


def _proper(ratios: Array) -> Array:
    """Ratios on the simplex; SLSQP may leave it by its tolerance."""
    held = np.maximum(ratios, 0.0)
    return np.asarray(held / max(float(held.sum()), 1e-12))


def _split_bounds(normals: Array, lows: Array, highs: Array) -> tuple[Array, list[int]]:
    """Box bounds (`k x 2`) from rows over a single weight, and the indices of other rows."""
    bounds = np.tile([0.0, 1.0], (normals.shape[1], 1))
    rows = []
    for index, (normal, low, high) in enumerate(zip(normals, lows, highs, strict=True)):
        places = np.flatnonzero(normal)
        if len(places) == 1 and normal[places[0]] == 1:
            bounds[places[0], 0] = max(bounds[places[0], 0], low)
            bounds[places[0], 1] = min(bounds[places[0], 1], high)
        else:
            rows.append(index)
    return bounds, rows


def _within_kl(space: WeightSpace) -> dict[str, Any]:
    limit = space.space.max_kl or 0.0

    def room(weights: Array) -> float:
        return limit - space.divergence_and_gradient(weights)[0]

    def slopes(weights: Array) -> Array:
        return -space.divergence_and_gradient(weights)[1]

    return {"type": "ineq", "fun": room, "jac": slopes}


def _outcome_limits(
    surrogate: Surrogate, outcome_constraint: OutcomeConstraint, composition: Array, at: Array
) -> dict[str, Any]:
    """The outcome constraint on weights, with the uncertainty of the surrogate at `at`."""
    here = _proper(composition.T @ at)
    # exact at `here`; elsewhere the expected scores change and the uncertainty is kept
    uncertainty = (
        outcome_constraint.expected(surrogate, here[None])[0]
        - outcome_constraint.margins(surrogate, here[None])[0]
    )

    def room(weights: Array) -> Array:
        ratios = _proper(composition.T @ weights)
        return np.asarray(outcome_constraint.expected(surrogate, ratios[None])[0] - uncertainty)

    def slopes(weights: Array) -> Array:
        by_ratio = outcome_constraint.slopes(surrogate, _proper(composition.T @ weights))
        return np.asarray(by_ratio @ composition.T)

    return {"type": "ineq", "fun": room, "jac": slopes}
