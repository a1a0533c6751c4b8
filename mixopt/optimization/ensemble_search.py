"""The mixture whose probability ensemble has the highest utility, by Newton's method and SLSQP.

The search runs over the ensemble's weights w = λ^γ ÷ Σ λ^γ and not over the ratios λ: every loss is
convex in w, and λ ∝ w^(1/γ) is smooth where a ratio is zero, which λ^γ is not. Without limits on the
ratios the problem is convex, and the end does not depend on the start (docs/methods.md, section 11.1).

Shapes: `k` experts, `m` metrics, `c` limits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from mixopt.mixture import Array
from mixopt.optimization.weight_space import WeightSpace
from mixopt.surrogates.ensemble import EnsembleModel, QuadraticLosses, response_weights
from mixopt.surrogates.minimize import Objective, minimize
from mixopt.surrogates.utility import AnyUtility, WorstCapability

STEPS = 100
TOLERANCE = 1e-7
NEWTON_STEPS = 12
NEAR = 1e-3
"""Newton's method ends after a step that moves no ratio further; the next is a tenth of it or less."""
LITTLE = 1e-5
"""The same for the utility: near a corner, steps are small and still worth much."""
SPREAD = 0.05
"""Weight that each start gives to its distance from a corner, where gradients are large."""


class Losses(Protocol):
    """Losses of `m` metrics as a function of the ensemble's weights (`k`)."""

    def losses(self, weights: Array) -> Array:
        """Return the losses (`m`)."""

    def losses_and_jacobian(self, weights: Array) -> tuple[Array, Array]:
        """Return the losses (`m`) and their derivatives by each weight (`m x k`)."""


@dataclass(frozen=True, eq=False)
class LossSearch:
    """Maximizes a utility of losses within the limits of a space.

    Attributes:
        model: Losses at weights of the experts.
        utility: Over the model's metrics.
        space: Limits on the ratios that the weights stand for.
        gamma: γ of the response map.
    """

    model: Losses
    utility: AnyUtility
    space: WeightSpace
    gamma: float

    def value(self, weights: Array) -> float:
        """Return the utility at requested weights α (`k`)."""
        losses = self.model.losses(response_weights(weights, self.gamma))
        return float(self.utility.of(losses[None])[0])

    def _climb(self, start: Array) -> Array:
        """Return the weights α where SLSQP ends, or the start where that is better."""
        k = len(start)
        inside = response_weights((1 - SPREAD) * start + SPREAD * self.space.centre, self.gamma)
        losses = _Remembering(self.model.losses_and_jacobian)
        objective: Objective = partial(self._objective, losses)
        constraints = self._limits(k)
        bounds = np.tile([0.0, 1.0], (k, 1))
        if isinstance(self.utility, WorstCapability):
            # maximize a bound below every capability: the minimum has kinks, the bound has none
            floor = float(self.utility.of(self.model.losses(inside)[None])[0])
            inside = np.append(inside, floor)
            bounds = np.vstack([bounds, [-np.inf, np.inf]])
            constraints = [_widen(constraint, k) for constraint in constraints]
            above, slopes = partial(self._above, losses), partial(self._above_jacobian, losses)
            constraints.append({"type": "ineq", "fun": above, "jac": slopes})
            objective = _minus_last
        end = minimize(objective, inside, method="SLSQP", bounds=bounds, steps=STEPS,
                       constraints=constraints, tolerance=TOLERANCE)[:k]  # fmt: skip
        if not np.isfinite(end).all() or end.max() <= 0:
            return start
        end = self.space.pull(self._requested(np.maximum(end, 0.0))[None])[0]
        return max(end, start, key=self.value)

    def _requested(self, w: Array) -> Array:
        return response_weights(w, 1 / self.gamma)

    def _objective(self, losses_at: "_Remembering", w: Array) -> tuple[float, Array]:
        losses, jacobian = losses_at(w)
        gradient = self.utility.gradient(losses[None])[0] @ jacobian
        return -float(self.utility.of(losses[None])[0]), -gradient

    def _above(self, losses_at: "_Remembering", extended: Array) -> Array:
        assert isinstance(self.utility, WorstCapability)
        losses = losses_at(extended[:-1])[0][None]
        each = np.array([part.of(losses)[0] for part in self.utility.parts.values()])
        return np.asarray(each - extended[-1])

    def _above_jacobian(self, losses_at: "_Remembering", extended: Array) -> Array:
        assert isinstance(self.utility, WorstCapability)
        losses, jacobian = losses_at(extended[:-1])
        rows = [part.gradient(losses[None])[0] @ jacobian for part in self.utility.parts.values()]
        return np.hstack([np.stack(rows), np.full((len(rows), 1), -1.0)])

    def _limits(self, k: int) -> list[dict[str, Any]]:
        """Return the space's limits as constraints on w: low <= normal · α(w) <= high, and Σ w = 1."""
        ones = np.ones(k)
        constraints: list[dict[str, Any]] = [
            {"type": "eq", "fun": lambda w: float(w.sum()) - 1, "jac": lambda w: ones}
        ]
        normals, lows, highs = self.space.limits
        for normal, low, high in zip(normals[1:], lows[1:], highs[1:], strict=True):
            if low == high:
                constraints.append(self._limit("eq", normal, low))
                continue
            if np.isfinite(low) and (low > 0 or (normal < 0).any()):
                constraints.append(self._limit("ineq", normal, low))
            if np.isfinite(high) and (high < 1 or normal.max() > 1):
                constraints.append(self._limit("ineq", -normal, -high))
        if self.space.space.max_kl is not None:
            constraints.append({"type": "ineq", "fun": self._room, "jac": self._room_slopes})
        return constraints

    def _limit(self, kind: str, normal: Array, offset: float) -> dict[str, Any]:
        return {
            "type": kind,
            "fun": lambda w: float(normal @ self._requested(np.maximum(w, 0.0))) - offset,
            "jac": lambda w: normal @ self._requested_jacobian(np.maximum(w, 0.0)),
        }

    def _requested_jacobian(self, w: Array) -> Array:
        """Return dα/dw (`k x k`) of α = w^p ÷ Σ w^p with p = 1/γ."""
        p = 1 / self.gamma
        raised, slope = np.power(w, p), p * np.power(w, p - 1)
        total = raised.sum()
        return np.asarray(np.diag(slope) / total - np.outer(raised, slope) / total**2)

    def _room(self, w: Array) -> float:
        alpha = self._requested(np.maximum(w, 0.0))
        return (self.space.space.max_kl or 0.0) - self.space.divergence_and_gradient(alpha)[0]

    def _room_slopes(self, w: Array) -> Array:
        held = np.maximum(w, 0.0)
        _, gradient = self.space.divergence_and_gradient(self._requested(held))
        return np.asarray(-gradient @ self._requested_jacobian(held))


@dataclass(frozen=True, eq=False)
class EnsembleSearch(LossSearch):
    """Maximizes a utility of ensemble losses, which can be resampled.

    Attributes:
        model: Losses at weights of the experts.
        utility: Over the model's metrics.
        space: Limits on the ratios that the weights stand for.
        gamma: γ of the response map.
    """

    model: EnsembleModel

    def maximize(self, starts: Sequence[Array] = ()) -> Array:
        """Return the feasible requested weights α (`k`) with the highest utility.

        Args:
            starts: Further weights α (`k`) to start from; the centre of the space is one always.
        """
        ends = []
        for start in self.space.pull(np.stack([self.space.centre, *starts])):
            # away from corners, where slopes are large
            inside = (1 - SPREAD) * start + SPREAD * self.space.centre
            ends += [start, self._refine(inside)]
        return max(ends, key=self.value)

    def bootstrap(self, leader: Array, draws: int, rng: np.random.Generator) -> Array:
        """Return the best weights α of resampled items (`draws x k`): the spread of the choice.

        Args:
            leader: Best weights on all items (`k`), from which each search starts.
            draws: Number of samples.
            rng: Draws the items.
        """
        curvature = self.model.curvature(response_weights(leader, self.gamma))
        samples = (self.model.resample(rng) for _ in range(draws))
        return np.stack([
            replace(self, model=model)._refine(leader, curvature) for model in samples
        ])  # fmt: skip

    def _refine(self, start: Array, curvature: Array | None = None) -> Array:
        """Return the best weights α, by Newton's method.

        Each step solves the whole problem for the losses to second order, which reads no token. Where a
        step does not improve the utility, curvature is computed anew, and where that does not help,
        SLSQP on the losses themselves takes over.

        Args:
            start: α (`k`).
            curvature: Second derivatives of the losses near the end (`m x k x k`), used for all steps;
                computed at each step if left out.
        """
        here, w = start, response_weights(start, self.gamma)
        losses, slopes = self.model.losses_and_jacobian(w)
        value = float(self.utility.of(losses[None])[0])
        for _ in range(NEWTON_STEPS):
            bent = self.model.curvature(w) if curvature is None else curvature
            near = QuadraticLosses(w, losses, slopes, bent)
            end = LossSearch(near, self.utility, self.space, self.gamma)._climb(here)
            w, moved = response_weights(end, self.gamma), float(np.abs(end - here).max())
            losses, slopes = self.model.losses_and_jacobian(w)
            gained = float(self.utility.of(losses[None])[0])
            more = gained - value
            if more >= 0:
                here, value = end, gained
            if moved < NEAR and more < LITTLE:
                return here
            if more < 0:
                break
        # second order does not hold that far, or steps away from a corner grow slowly
        return self._climb(here) if curvature is None else self._refine(here)


class _Remembering:
    """Losses and their derivatives, which SLSQP asks for several times at one point."""

    def __init__(self, losses_and_jacobian: Callable[[Array], tuple[Array, Array]]) -> None:
        self._compute = losses_and_jacobian
        self._last: tuple[Array, tuple[Array, Array]] | None = None

    def __call__(self, w: Array) -> tuple[Array, Array]:
        if self._last is None or not np.array_equal(self._last[0], w):
            self._last = w.copy(), self._compute(w)
        return self._last[1]


def _minus_last(extended: Array) -> tuple[float, Array]:
    gradient = np.zeros(len(extended))
    gradient[-1] = -1.0
    return -float(extended[-1]), gradient


def _widen(constraint: dict[str, Any], k: int) -> dict[str, Any]:
    """Return a constraint on `k` weights as one on these and a bound, on which it does not depend."""
    value, slopes = constraint["fun"], constraint["jac"]
    return constraint | {
        "fun": lambda extended: value(extended[:k]),
        "jac": lambda extended: np.append(slopes(extended[:k]), 0.0),
    }
