"""Climbing: the best weights by gradient from many starts, inside every limit.

The smooth laws of a portfolio have slopes; trees have none and are left to simulation
(`proposing`). Limits that depend on the surrogate, that no metric may get worse, enter as
constraints whose margin follows the surrogate's doubt.

Shapes: `k` weights, `d` domains, `m` metrics, `n` mixtures.
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
from mixopt.surrogates.minimize import minimise
from mixopt.surrogates.surrogate import Surrogate

STEPS = 60
TOLERANCE = 1e-5
GUARD_ROUNDS = 3
"""Times that the doubt in a guard's margin is taken anew at the mixture that was reached."""
PER_GAIN = 0.01
"""The chance that one standard deviation (of the trials' utilities) of expected gain is worth."""
DIFFERENCE = 1e-5
"""Step of the finite differences for objectives that have no slopes of their own."""


@dataclass(frozen=True, eq=False)
class Goal:
    """What is climbed: expected utility, or the chance of beating a reference.

    A tiny step may be as good as certain to help, and so may many large ones: the expected gain
    decides between chances that hardly differ.

    Attributes:
        surrogate: What predicts.
        reference: The mixture (`d`) to beat, or none to maximise the expected utility.
    """

    surrogate: Surrogate
    reference: Array | None = None

    def values(self, ratios: Array) -> Array:
        """What is maximised (`n`), with all laws, at `n x d` ratios."""
        if self.reference is None:
            return self.surrogate.predict_utility(ratios)[0]
        gain, std = self.surrogate.utility_difference(ratios, self.reference)
        # at the reference itself both are zero: even chances
        chance = ndtr(np.where(std > 0, gain / np.maximum(std, 1e-12), 0.0))
        return np.asarray(chance / PER_GAIN + gain / self._usual)

    @cached_property
    def _usual(self) -> float:
        """Standard deviation of the trials' utilities."""
        usual = float(np.nanstd(self.surrogate.seen_utilities(self.surrogate.trials)))
        return usual if usual > 0 else 1.0

    def climbed(self, ratios: Array) -> tuple[float, Array]:
        """Value and gradient (`d`) of the smooth part at one mixture (`d`)."""
        if self.reference is None:
            value, gradient = self.surrogate.smooth_utility(ratios[None])
            return float(value[0]), gradient[0]
        steps = DIFFERENCE * np.eye(len(ratios))
        values = self.values(np.vstack([ratios, np.abs(ratios + steps)]))
        return float(values[0]), np.asarray((values[1:] - values[0]) / DIFFERENCE)


def climb(
    goal: Goal,
    space: WeightSpace,
    order: list[int],
    starts: Array,
    guard: OutcomeConstraint | None = None,
) -> Array:
    """Weights (`n x k`) reached from `starts` (`n x k`), every bound of the space kept.

    Args:
        goal: What is climbed.
        space: Weights and their limits.
        order: Places of the surrogate's domains among the space's.
        starts: Feasible weights.
        guard: Metrics that must not get worse.
    """
    composition = space.composition[:, order]

    def objective(weights: Array) -> tuple[float, Array]:
        value, gradient = goal.climbed(_proper(composition.T @ weights))
        return -value, -composition @ gradient

    bounds, linear = limits_of(space)
    ends = []
    for start in starts:
        end = start
        for _ in range(GUARD_ROUNDS if guard else 1):
            constraints = list(linear)
            if guard:
                constraints.append(_guarded(goal.surrogate, guard, composition, end))
            moved = minimise(objective, end, method="SLSQP", bounds=bounds, steps=STEPS,
                             constraints=constraints, tolerance=TOLERANCE)  # fmt: skip
            # an optimiser that lost its way leaves the start as it is
            end = moved if np.isfinite(moved).all() and moved.sum() > 0 else end
        end = np.maximum(end, 0.0)
        ends.append(end / end.sum())
    return space.pull(np.stack(ends))


def limits_of(space: WeightSpace) -> tuple[Array, list[dict[str, Any]]]:
    """Box bounds of the weights (`k x 2`) and all other limits, as SLSQP takes them."""
    normals, lows, highs = space.limits
    bounds, rows = _split_bounds(normals, lows, highs)
    linear = linear_constraints(normals[rows], lows[rows], highs[rows])
    if space.space.max_kl is not None:
        linear.append(_within_kl(space))
    return bounds, linear


def _proper(ratios: Array) -> Array:
    """Ratios an optimiser asks for, which may be off the simplex by its tolerance."""
    held = np.maximum(ratios, 0.0)
    return np.asarray(held / max(float(held.sum()), 1e-12))


def _split_bounds(normals: Array, lows: Array, highs: Array) -> tuple[Array, list[int]]:
    """Box bounds of single weights (`k x 2`), and the rows that are none."""
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
    prior = np.maximum(space.space.prior_vector(), 1e-12)

    def logs(weights: Array) -> tuple[Array, Array]:
        ratios = np.maximum(space.composition.T @ weights, 1e-12)
        return ratios, np.log(ratios / prior)

    def room(weights: Array) -> float:
        ratios, logarithms = logs(weights)
        return limit - float(ratios @ logarithms)

    return {
        "type": "ineq",
        "fun": room,
        "jac": lambda weights: -(space.composition @ (logs(weights)[1] + 1)),
    }


def _guarded(
    surrogate: Surrogate, guard: OutcomeConstraint, composition: Array, at: Array
) -> dict[str, Any]:
    """The guard as a constraint on weights, with the doubt that the surrogate has at `at`."""
    here = _proper(composition.T @ at)
    # margins at `here` are exact; elsewhere the expected scores move and the doubt stays
    doubt = guard.expected(surrogate, here[None])[0] - guard.margins(surrogate, here[None])[0]

    def room(weights: Array) -> Array:
        ratios = _proper(composition.T @ weights)
        return np.asarray(guard.expected(surrogate, ratios[None])[0] - doubt)

    def slopes(weights: Array) -> Array:
        by_ratio = guard.slopes(surrogate, _proper(composition.T @ weights))
        return np.asarray(by_ratio @ composition.T)

    return {"type": "ineq", "fun": room, "jac": slopes}
