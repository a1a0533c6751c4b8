"""projektor: ratios and predicted losses from samples of the text and pilot runs at two lengths.

Kang et al. 2023, arXiv:2307.02460, and ruoxi-jia-group/projektor. The losses of pilot runs are a
pseudo-quadratic in the distance of the mixture's text from the target's at each length N,

    L_N(p) = Σ_i (b2_i p_i² + b1_i p_i + b0) · OT(p) + Σ_i c_i p_i + c0,

the losses at the target's length follow without a parameter,

    L(N) = [ log(N ÷ N0) L_N1 − log(N ÷ N1) L_N0 ] ÷ log(N1 ÷ N0),

and projected gradient steps descend it on the simplex. The paper's formula has Σ_i c2_i p_i² too, which
the authors' notebook leaves out. They fit by least squares and ascend an accuracy; text has more sources
than runs, so here a ridge penalty is chosen by leave-one-out errors, the same for both lengths, and a
step is taken only where it lowers the loss. See docs/methods.md, section 12.11.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from sklearn.linear_model import RidgeCV

from mixopt.baselines.base import MORE_RUNS, Need, Problem, Recommendation
from mixopt.baselines.transport import Transport, TransportError
from mixopt.errors import RunError, UserError
from mixopt.mixture import Array
from mixopt.optimization.weight_space import WeightSpace

Measure: TypeAlias = Callable[[Array], tuple[float, Array]]
PENALTIES = tuple(np.logspace(-4, 2, 13))
LEAST_RUNS = 4
"""Runs with a score that a law is fitted to."""
FIRST_STEP, HALVINGS, SMALL = 1.0, 30, 1e-9
"""Length of the first gradient step, how often it is halved, and the gain that ends the descent."""


@dataclass(frozen=True)
class Projektor:
    """The method.

    Attributes:
        steps: Gradient steps from each start.
    """

    steps: int = 30
    need: ClassVar[Need] = "runs"
    source: ClassVar[str] = "projektor, arXiv:2307.02460"

    def least_tokens(self, d: int, experts_tokens: int, run_tokens: int) -> int:
        """Return the cost of the fewest runs."""
        return LEAST_RUNS * run_tokens

    def recommend(self, problem: Problem) -> Recommendation:
        """Train the pilot runs, fit, project to the target's length and descend."""
        transport = Transport(problem.require_samples())
        n = problem.affordable_runs
        drawn = problem.mixtures.sample(n - 1, problem.rng(1))
        ratios = np.vstack([problem.natural, drawn])
        lengths, scores = problem.train_lengths(ratios)
        shares = project(lengths, problem.target_tokens or max(lengths))
        distances = transport.distances(ratios)
        # least squares of the projected losses are the projected least squares of both lengths; a
        # penalty of its own for each length would be projected too, and the difference grow with it
        losses = np.tensordot(shares, [problem.losses(each) for each in scores], axes=1)
        law = PseudoQuadratic.fit(ratios, distances, losses)
        predicted = law.predict(ratios, distances) @ problem.weights
        # natural is trained where limits forbid it too, and descents start at allowed mixtures
        starts = problem.mixtures.pull(ratios[[0, int(predicted.argmin())]])
        found = [
            descend(law, transport, problem.mixtures, problem.weights, each, self.steps)
            for each in starts
        ]
        values = [law.losses(row, *transport.distance(row))[0] for row in found]
        best = int(np.argmin([value @ problem.weights for value in values]))
        return problem.recommend(found[best], values[best])


@dataclass(frozen=True, eq=False)
class PseudoQuadratic:
    """Losses as a function of ratios and distance.

    Attributes:
        coefficients: Of the terms of `terms`, by metric (`(3 d + 2) x m`).
    """

    coefficients: Array

    @classmethod
    def fit(cls, ratios: Array, distances: Array, losses: Array) -> "PseudoQuadratic":
        """Return the law of losses (`n x m`) of mixtures (`n x d`) at distances (`n`).

        Raises:
            RunError: A metric has too few scores.
        """
        rows = terms(ratios, distances)
        found = []
        for column in losses.T:
            known = np.isfinite(column)
            if known.sum() < LEAST_RUNS:
                raise RunError(
                    f"The law of projektor is fitted to {known.sum()} runs with a score and needs "
                    f"{LEAST_RUNS}; {MORE_RUNS}."
                )
            mean, spread = rows[known].mean(axis=0), rows[known].std(axis=0)
            spread = np.where(spread > SMALL, spread, 1.0)
            model = RidgeCV(PENALTIES).fit((rows[known] - mean) / spread, column[known])
            slopes = model.coef_ / spread
            slopes[-1] += model.intercept_ - mean @ slopes
            found.append(slopes)
        return cls(np.stack(found, axis=1))

    def predict(self, ratios: Array, distances: Array) -> Array:
        """Return losses (`n x m`) of mixtures (`n x d`) at distances (`n`)."""
        return np.asarray(terms(ratios, distances) @ self.coefficients)

    def losses(self, ratios: Array, distance: float, slope: Array) -> tuple[Array, Array]:
        """Return losses (`m`) of a mixture (`d`), and their gradients (`m x d`).

        Args:
            ratios: The mixture.
            distance: Its distance from the target.
            slope: Gradient of the distance (`d`).
        """
        d = len(ratios)
        linear, square, plain = (self.coefficients[i * d : (i + 1) * d] for i in range(3))
        share = self.coefficients[3 * d]
        by_distance = ratios @ linear + ratios**2 @ square + share
        direct = (linear + 2 * ratios[:, None] * square) * distance + plain
        gradients = direct.T + by_distance[:, None] * slope
        return self.predict(ratios[None], np.array([distance]))[0], gradients


def terms(ratios: Array, distances: Array) -> Array:
    """Return p · OT, p² · OT, p, OT and 1 (`n x (3 d + 2)`) of mixtures (`n x d`) at distances (`n`)."""
    column = distances[:, None]
    ones = np.ones((len(ratios), 1))
    return np.hstack([ratios * column, ratios**2 * column, ratios, column, ones])


def project(lengths: tuple[int, int], target: int) -> tuple[float, float]:
    """Return the weights of the losses at two lengths that give the loss at a third.

    The loss is taken to be linear in the logarithm of the length.

    Args:
        lengths: Tokens of the shorter and of the longer runs.
        target: Tokens of the run that is predicted.

    Raises:
        UserError: Both lengths are the same.
    """
    short, long = lengths
    if not 0 < short < long:
        raise UserError(
            f"projektor needs runs of two lengths and has {short:,} and {long:,} tokens; train longer "
            "runs (training.tokens), of which half is whole steps too."
        )
    ratio = np.log(long / short)
    return -float(np.log(target / long) / ratio), float(np.log(target / short) / ratio)


def descend(
    law: PseudoQuadratic,
    transport: Transport,
    space: WeightSpace,
    weights: Array,
    start: Array,
    steps: int,
) -> Array:
    """Return the mixture (`d`) where projected gradient steps end.

    Args:
        law: Predicts losses.
        transport: Measures distances.
        space: The allowed mixtures.
        weights: Of the losses in the mean that is minimized (`m`).
        start: Where it begins, an allowed mixture (`d`).
        steps: Most steps.
    """

    def measure(ratios: Array) -> tuple[float, Array]:
        losses, gradients = law.losses(ratios, *transport.distance(ratios))
        return float(losses @ weights), weights @ gradients

    return descend_on_simplex(measure, space, start, steps)


def descend_on_simplex(measure: Measure, space: WeightSpace, start: Array, steps: int) -> Array:
    """Return the mixture (`d`) where projected gradient steps of a function end.

    Args:
        measure: Returns value and gradient (`d`) of a mixture (`d`).
        space: The allowed mixtures.
        start: Where it begins, an allowed mixture (`d`).
        steps: Most steps.

    Raises:
        TransportError: The distance at the start cannot be measured.
    """
    ratios, length = start, FIRST_STEP
    value, gradient = measure(ratios)
    for _ in range(steps):
        along = gradient - gradient.mean()
        size = float(np.abs(along).max())
        if size < SMALL:
            break
        for _ in range(HALVINGS):
            moved = space.pull(_to_simplex(ratios - length / size * along)[None])[0]
            try:
                other, slope = measure(moved)
            except TransportError:  # a shorter step ends where the distance is known
                other = np.inf
            if other < value - SMALL:
                break
            length /= 2
        else:
            break
        ratios, value, gradient, length = moved, other, slope, min(FIRST_STEP, 2 * length)
    return ratios


def _to_simplex(point: Array) -> Array:
    """Return the nearest point of the simplex (Held, Wolfe and Crowder 1974)."""
    ordered = np.sort(point)[::-1]
    excess = (np.cumsum(ordered) - 1) / np.arange(1, len(point) + 1)
    last = int(np.flatnonzero(ordered > excess)[-1])
    return np.asarray(np.maximum(point - excess[last], 0.0))
