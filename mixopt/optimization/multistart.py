"""SLSQP over weights within all limits: of a surrogate, or of a scorer with gradients of its own.

Trees have no gradient and are covered by random candidates in `optimize`. Outcome constraints
depend on the surrogate and enter with the uncertainty at the current mixture. See docs/methods.md,
sections 7.5 and 7.9. Shapes: `k` weights, `d` domains, `m` metrics, `n` mixtures.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import ndtr

from mixopt.mixture import Array, hellinger
from mixopt.optimization.outcome_constraint import OutcomeConstraint
from mixopt.optimization.polytope import linear_constraints
from mixopt.optimization.weight_space import WeightSpace
from mixopt.search_limits import Neighborhood
from mixopt.surrogates.kernels import sqrt_derivative
from mixopt.surrogates.minimize import minimize
from mixopt.surrogates.surrogate import Surrogate

STEPS = 60  # iterations of SLSQP
TOLERANCE = 1e-5  # change of the objective at which SLSQP stops
CONSTRAINT_ROUNDS = 3  # updates of an outcome constraint's uncertainty at the mixture reached
PER_GAIN = 0.01  # probability worth one standard deviation (over trials) of expected gain
DIFFERENCE = 1e-5  # step of finite differences
ASCENT_TOLERANCE = 1e-4  # rise of the utility at which `ascend` stops, in standard deviations
APART = 0.12  # least Hellinger distance between starting points
LEAST_EACH = 4  # half of the fewest evaluations of one of several ascents

Scorer = Callable[[Array], tuple[float, Array]]  # utility and its gradient (`k`) at weights (`k`)


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
        gain, std = self.surrogate.gains(ratios, self.reference)
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

    bounds, linear = _limits_of(space)
    ends = []
    for start in starts:
        end = start
        for _ in range(CONSTRAINT_ROUNDS if outcome_constraint else 1):
            constraints = list(linear)
            if outcome_constraint:
                constraints.append(_outcome_limits(goal, outcome_constraint, composition, end))
            moved = minimize(objective, end, method="SLSQP", bounds=bounds, steps=STEPS,
                             constraints=constraints, tolerance=TOLERANCE)  # fmt: skip
            # SLSQP may diverge; the start is kept then
            end = moved if np.isfinite(moved).all() and moved.sum() > 0 else end
        ends.append(_proper(end))
    return space.pull(np.stack(ends))


def _limits_of(space: WeightSpace) -> tuple[Array, list[dict[str, Any]]]:
    """Return the limits on weights in SLSQP's form: box bounds (`k x 2`), and constraints."""
    normals, lows, highs = space.limits
    bounds, rows = _split_bounds(normals, lows, highs)
    linear = linear_constraints(normals[rows], lows[rows], highs[rows])
    if space.space.max_kl is not None:
        linear.append(_within_kl(space))
    if space.space.near is not None:
        linear.append(_within_reach(space, space.space.near))
    return bounds, linear


def _proper(ratios: Array) -> Array:
    """Return weights or ratios on the simplex; SLSQP may leave it by its tolerance."""
    held = np.maximum(ratios, 0.0)
    return np.asarray(held / max(float(held.sum()), 1e-12))


def _split_bounds(normals: Array, lows: Array, highs: Array) -> tuple[Array, list[int]]:
    """Return box bounds (`k x 2`) from rows over a single weight, and the other rows' indices."""
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
    limit, kl = space.space.max_kl or 0.0, space.divergence_and_gradient
    return {"type": "ineq", "fun": lambda w: limit - kl(w)[0], "jac": lambda w: -kl(w)[1]}


def _within_reach(space: WeightSpace, near: Neighborhood) -> dict[str, Any]:
    """Return the distance from the nearest run as a limit on weights."""
    roots, least = np.sqrt(near.mixtures), 1 - near.distance**2

    def room(weights: Array) -> float:
        overlaps = roots @ np.sqrt(_proper(space.composition.T @ weights))
        return float(overlaps.max() - least)

    def slopes(weights: Array) -> Array:
        ratios = _proper(space.composition.T @ weights)
        nearest = roots[int((roots @ np.sqrt(ratios)).argmax())]
        return np.asarray(space.composition @ (nearest * sqrt_derivative(ratios)))

    return {"type": "ineq", "fun": room, "jac": slopes}


def _outcome_limits(
    goal: Goal, constraint: OutcomeConstraint, composition: Array, at: Array
) -> dict[str, Any]:
    """Return the outcome constraint on weights, with the uncertainty of the surrogate at `at`."""
    surrogate, here = goal.surrogate, _proper(composition.T @ at)[None]
    # exact at `here`; elsewhere the expected scores change and the uncertainty is kept
    uncertainty = constraint.expected(surrogate, here)[0] - constraint.margins(surrogate, here)[0]

    def room(weights: Array) -> Array:
        ratios = _proper(composition.T @ weights)
        return np.asarray(constraint.expected(surrogate, ratios[None])[0] - uncertainty)

    def slopes(weights: Array) -> Array:
        by_ratio = constraint.slopes(surrogate, _proper(composition.T @ weights))
        return np.asarray(by_ratio @ composition.T)

    return {"type": "ineq", "fun": room, "jac": slopes}


class _SpentError(Exception): ...  # all evaluations of an ascent are used


def ascend(score: Scorer, space: WeightSpace, start: Array, *, evaluations: int) -> None:
    """Maximize `score` from one start by SLSQP, without a surrogate.

    Each evaluation is a merge, so evaluations are limited, not iterations. The results are what
    `score` records.

    Args:
        score: Utility (higher is better) and its gradient.
        space: Weights and the limits on their ratios.
        start: Feasible weights (`k`).
        evaluations: Most calls of `score`.
    """
    bounds, constraints = _limits_of(space)
    left = evaluations

    def objective(weights: Array) -> tuple[float, Array]:
        nonlocal left
        if not left:
            raise _SpentError
        left -= 1
        value, slopes = score(space.pull(_proper(weights)[None])[0])
        # the component that changes the sum of the weights is projected away
        return -value, -(slopes - slopes.mean())

    with suppress(_SpentError):
        minimize(objective, start, method="SLSQP", bounds=bounds, steps=evaluations,
                 constraints=constraints, tolerance=ASCENT_TOLERANCE)  # fmt: skip


def choose_starts(space: WeightSpace, weights: Array, utilities: Array, n: int) -> Array:
    """Choose starts that are good and apart.

    Args:
        space: Weights and their ratios.
        weights: Scored weights (`? x k`).
        utilities: Their utilities (`?`).
        n: Most starts.

    Returns:
        The best weights that are further than `APART` from each other (at most `n x k`).
    """
    ratios, order = space.ratios(weights), np.argsort(-utilities, kind="stable")
    left = order[np.isfinite(utilities[order])]
    chosen: list[int] = []
    while len(left) and len(chosen) < n:
        chosen.append(int(left[0]))
        left = left[hellinger(ratios[left], ratios[chosen[-1:]])[:, 0] > APART]
    return weights[chosen]


def divide(evaluations: int) -> list[int]:
    """Divide evaluations among one to three ascents.

    Args:
        evaluations: Of all ascents together.

    Returns:
        Evaluations of each of `n` ascents: at least `2 * LEAST_EACH` if there are several.
    """
    count = max(1, min(3, evaluations // (2 * LEAST_EACH)))
    return [evaluations // count + (place < evaluations % count) for place in range(count)]
