"""Weights of experts and their ratios of tokens: λ = Σ_k α_k · composition_k.

An expert trained on 50% general data stands for a mixture, not for a domain, so the weights that
are searched differ from the ratios that are proposed. Bounds hold on the ratios.
See docs/methods.md, section 7.1. Shapes: `k` experts, `d` domains, `n` mixtures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, nnls

from mixopt.errors import InfeasibleError
from mixopt.linear_limits import BOUND_TOLERANCE, Row, explain_conflict
from mixopt.mixture import Array, Mixture, nearest
from mixopt.optimization.polytope import (
    bisect,
    find_implied_equalities,
    linear_constraints,
    project_in_turn,
)
from mixopt.search_space import SearchSpace
from mixopt.surrogates.minimize import Objective, minimize

CONCENTRATION = (1.0, 4.0)
"""Total Dirichlet concentration: log-uniform from the first to the second times `k`."""
TEMPER = 0.7  # exponent on the prior, as in DeMix (2602.00747): small domains are drawn more often
TINY = 1e-12  # smallest ratio of which a logarithm is taken
CHAINS, STEPS, STEPS_EACH = 128, 300, 12
"""Chains of uniform draws, and steps before their first draw: the last for each expert, and at most
the second."""
SHRINKS = 24  # most points tried on a line before a chain stays where it is
FLAT = 1e-9  # largest distance from the limits at which the allowed weights may be flat
RANK = 1e-10  # share of the largest singular value from which an equality counts as one of its own
SUM_WEIGHT = 1e4  # weight of Σα = 1 in the least squares from ratios to weights


@dataclass(frozen=True, eq=False)
class WeightSpace:
    """Weights of `k` experts on the simplex whose ratios meet the bounds of `space`.

    Attributes:
        space: Bounds on the ratios of `d` domains.
        experts: Names of the `k` experts.
        composition: Ratios of each expert's training tokens (`k x d`).
    """

    space: SearchSpace
    experts: tuple[str, ...]
    composition: Array

    @classmethod
    def of_domains(cls, space: SearchSpace) -> "WeightSpace":
        """Return the space of ratios themselves: one expert per domain."""
        return cls(space, space.domains, np.eye(len(space.domains)))

    @classmethod
    def of_rows(cls, space: SearchSpace, rows: Mapping[str, Mixture]) -> "WeightSpace":
        """Return the space of experts with these compositions by name."""
        matrix = np.stack([row.vector(space.domains) for row in rows.values()])
        return cls(space, tuple(rows), matrix)

    def ratios(self, weights: Array) -> Array:
        """Return ratios (`n x d`) of weights (`n x k`)."""
        return np.asarray(weights @ self.composition)

    def weights_for(self, ratios: Array) -> tuple[Array, float]:
        """Return the weights (`k`) with the ratios nearest to `ratios` (`d`), and the largest error."""
        if self._of_domains and (ratios >= 0).all():
            return np.asarray(ratios / ratios.sum()), 0.0
        stacked = np.vstack([self.composition.T, np.full((1, len(self.experts)), SUM_WEIGHT)])
        weights, _ = nnls(stacked, np.append(ratios, SUM_WEIGHT))
        weights = weights / weights.sum()
        return weights, float(np.abs(self.ratios(weights) - ratios).max())

    @cached_property
    def _of_domains(self) -> bool:
        """Whether weights are ratios, so that no least squares is needed."""
        d = len(self.space.domains)
        return self.composition.shape == (d, d) and bool((self.composition == np.eye(d)).all())

    @cached_property
    def centre(self) -> Array:
        """Weights (`k`) with the largest distance from every bound, by a linear program.

        Raises:
            InfeasibleError: No weights of these experts meet the bounds.
        """
        weights, distance = self._stated_centre
        if weights is None:
            self._explain_infeasible()
        if distance <= FLAT:
            weights, _ = self._most_distant(self._implied)
            assert weights is not None
        return self._near_prior(np.asarray(weights / weights.sum()))

    @cached_property
    def _stated_centre(self) -> tuple[Array | None, float]:
        """Weights (`k`) farthest from what the limits state, and how far; None where none meet them."""
        return self._most_distant(self._closed_sides)

    def _most_distant(self, ignored: NDArray[np.bool_]) -> tuple[Array | None, float]:
        """Return the weights (`k`) farthest from the half-spaces that are not ignored, and how far."""
        k, (normals, offsets) = len(self.experts), self._half_spaces
        frozen, values = self._stated_equalities
        distance = np.where(ignored, 0.0, 1.0)
        rows = np.roll(np.column_stack([-normals, distance]), -k, axis=0)  # n · α >= offset + t
        equal = np.column_stack([frozen, np.zeros(len(frozen))])
        solved = linprog(np.append(np.zeros(k), -1.0), rows, np.roll(0.0 - offsets, -k),
                         equal, values, bounds=[(0, 1)] * (k + 1))  # fmt: skip
        if not solved.success:
            return None, 0.0
        found = np.asarray(solved.x, dtype=np.float64)
        return found[:k], float(found[k])

    def _explain_infeasible(self) -> NoReturn:
        low, high = self.space.bounds()
        for index, domain in enumerate(self.space.domains):
            least, most = self.composition[:, index].min(), self.composition[:, index].max()
            if low[index] > most + 1e-9 or high[index] < least - 1e-9:
                raise InfeasibleError(
                    f"The experts reach between {least:.3g} and {most:.3g} of {domain!r}, but its "
                    f"bounds are {low[index]:.3g} to {high[index]:.3g}; change the bounds or the "
                    "anchor share."
                )
        explain_conflict(self.space.rows, self.composition)
        raise InfeasibleError(
            "The experts' compositions cannot meet all bounds together; widen the bounds or "
            "lower the anchor share."
        )

    def _near_prior(self, weights: Array) -> Array:
        """Return `weights` (`k`), moved towards the prior until `max_kl` holds."""
        limit = self.space.max_kl
        if limit is None or self._divergence(weights[None])[0] <= limit:
            return weights
        nearest = self._closest_to_prior(weights)
        least = float(self._divergence(nearest[None])[0])
        if least > limit + BOUND_TOLERANCE:
            raise InfeasibleError(
                f"No mixture within the bounds is as near to the natural mixture as max_kl {limit:.4g} "
                f"nats: the nearest has {least + 5e-5:.4f}; raise max_kl to that or widen the bounds."
            )
        # halfway between the least divergence and the limit
        halfway = (limit + least) / 2
        return bisect(nearest, weights[None], lambda w: self._divergence(w) <= halfway).ravel()

    def minimize_within(self, objective: Objective, start: Array) -> Array:
        """Return the minimum of a convex function of weights (`k`), up to the solver's tolerance.

        Args:
            objective: Returns value and gradient (`k`).
            start: Weights that meet the linear limits, which alone are heeded (`k`).
        """
        bounds = np.tile([0.0, 1.0], (len(start), 1))
        found = minimize(objective, start, method="SLSQP", bounds=bounds, steps=300,
                         constraints=linear_constraints(*self.limits), tolerance=1e-12)  # fmt: skip
        found = np.maximum(found, 0.0)
        return np.asarray(found / found.sum())

    def _closest_to_prior(self, start: Array) -> Array:
        near = self.minimize_within(self.divergence_and_gradient, start)
        prior_weights, miss = self.weights_for(np.maximum(self.space.prior_vector(), TINY))
        if miss < 1e-9 and self._meets_rows(prior_weights[None])[0]:
            return prior_weights
        # the solver's small violations are removed on the line to an interior point
        return bisect(start, near[None], self._meets_rows).ravel()

    def divergence_and_gradient(self, weights: Array) -> tuple[float, Array]:
        """Return the KL divergence of weights (`k`) from the prior, in nats, and its gradient (`k`)."""
        prior = np.maximum(self.space.prior_vector(), TINY)
        ratios = np.maximum(self.composition.T @ weights, TINY)
        logs = np.log(ratios / prior)
        return float(ratios @ logs), np.asarray(self.composition @ (logs + 1))

    def _divergence(self, weights: Array) -> Array:
        return self.space.divergence(self.ratios(weights))

    def _meets_rows(self, weights: Array) -> NDArray[np.bool_]:
        normals, lows, highs = self.limits
        values, slack = weights @ normals.T, BOUND_TOLERANCE
        return np.asarray(((values >= lows - slack) & (values <= highs + slack)).all(axis=1))

    @cached_property
    def limits(self) -> tuple[Array, Array, Array]:
        """Limits on weights: normals (`c x k`), lows and highs (`c` each); the first is Σα = 1."""
        rows = self.space.rows
        normals = [np.ones(len(self.experts)), *(self.composition @ row.normal for row in rows)]
        lows, highs = [1.0, *(row.low for row in rows)], [1.0, *(row.high for row in rows)]
        return np.stack(normals), np.array(lows), np.array(highs)

    def pull(self, weights: Array) -> Array:
        """Return feasible weights (`n x k`) near `weights`; feasible weights are kept.

        Alternating projections onto the violated bounds move a point to the nearest border. What
        they leave is removed along the line to `centre`, so that every bound holds exactly. What is
        too far from the runs is moved on the line to the nearest anchor.
        """
        pulled = self._pull_to_limits(weights)
        near = self.space.near
        if near is None:
            return pulled
        far = np.flatnonzero(~near.contains(self.ratios(pulled)))
        if len(far):
            anchors, runs = self.anchors
            ends = pulled[far]
            place, _ = nearest(self.ratios(ends), self.ratios(anchors))
            # the ball around one run is convex, so the allowed points of each line are an interval
            roots = np.sqrt(runs[place])
            most = 1 - near.distance**2

            def close(points: Array) -> NDArray[np.bool_]:
                overlap = (np.sqrt(np.maximum(self.ratios(points), 0.0)) * roots).sum(axis=1)
                return np.asarray(overlap >= most)

            pulled[far] = bisect(anchors[place], ends, close)
        return pulled

    @cached_property
    def anchors(self) -> tuple[Array, Array]:
        """Allowed weights near runs (`a x k`), and the ratios of each one's nearest run (`a x d`).

        Raises:
            InfeasibleError: The limits leave no mixture near enough to a run.
        """
        assert self.space.near is not None
        runs = self.space.near.mixtures
        anchors = self._pull_to_limits(np.stack([self.weights_for(run)[0] for run in runs]))
        place, apart = nearest(self.ratios(anchors), runs)
        usable = apart <= self.space.near.distance
        if not usable.any():
            raise InfeasibleError(
                f"No mixture within the limits is nearer than {apart.min():.3f} (Hellinger) to a run, "
                f"and at most {self.space.near.distance:.3f} is allowed; widen the limits."
            )
        return anchors[usable], runs[place[usable]]

    def _pull_to_limits(self, weights: Array) -> Array:
        normals, offsets = self._half_spaces
        near = project_in_turn(weights, normals, offsets)
        direction = (near - self.centre) @ self._free
        room = self.centre @ normals.T - offsets
        loss = -(direction @ normals.T)
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.where(loss > 1e-15, np.maximum(room, 0.0) / loss, np.inf)
        step = np.clip(steps.min(axis=1), 0.0, 1.0)[:, None]
        pulled = np.maximum(self.centre + step * direction, 0.0)
        limit = self.space.max_kl
        if limit is None:
            return np.asarray(pulled)
        return bisect(self.centre, pulled, lambda w: self._divergence(w) <= limit)

    @cached_property
    def _forbidden(self) -> NDArray[np.bool_]:
        """Which experts have tokens of a forbidden domain, and so no weight (`k`)."""
        _, high = self.space.bounds()
        return np.asarray(self.composition @ (high == 0) > 0)

    @cached_property
    def _closed_sides(self) -> NDArray[np.bool_]:
        """Which half-spaces are those of forbidden experts."""
        normals, _ = self._half_spaces
        return np.append(self._forbidden, np.zeros(len(normals) - len(self.experts), dtype=bool))

    @cached_property
    def _implied(self) -> NDArray[np.bool_]:
        """Which half-spaces all allowed weights meet with equality, because other limits force them.

        Lower bounds that sum to 1 are an example: each is met exactly, and other domains have nothing.
        """
        weights, distance = self._stated_centre
        if weights is None or distance > FLAT:
            return self._closed_sides
        return find_implied_equalities(*self._half_spaces, *self._stated_equalities)

    @cached_property
    def _closed(self) -> NDArray[np.bool_]:
        """Which experts have no weight anywhere (`k`)."""
        return self._forbidden | self._implied[: len(self.experts)]

    @cached_property
    def _rows(self) -> tuple[tuple[Row, Array], ...]:
        """The limits that the weights of closed experts do not meet alone, with their normals (`k`)."""
        rows = [(row, self.composition @ row.normal) for row in self.space.rows]
        return tuple(
            (row, normal) for row, normal in rows
            if normal[~self._forbidden].any() or not row.low <= 0 <= row.high
        )  # fmt: skip

    @cached_property
    def _half_spaces(self) -> tuple[Array, Array]:
        """Normals and offsets of normal · α >= offset; the first are α >= 0."""
        k = len(self.experts)
        normals, offsets = list(np.eye(k)), [0.0] * k
        for row, normal in self._rows:
            if row.fixed:
                continue
            if np.isfinite(row.low):
                normals.append(normal)
                offsets.append(row.low)
            if np.isfinite(row.high):
                normals.append(-normal)
                offsets.append(-row.high)
        return np.array(normals), np.array(offsets)

    @cached_property
    def _equalities(self) -> tuple[Array, Array]:
        """Normals and values of normal · α = value, also of those that other limits imply."""
        normals, offsets = self._half_spaces
        fixed, values = self._stated_equalities
        implied = self._implied & ~self._closed_sides
        return np.vstack([fixed, normals[implied]]), np.append(values, offsets[implied])

    @cached_property
    def _stated_equalities(self) -> tuple[Array, Array]:
        """Normals and values of normal · α = value: Σα = 1, forbidden experts and fixed ratios."""
        k = len(self.experts)
        fixed = [(normal, row.low) for row, normal in self._rows if row.fixed]
        closed = np.eye(k)[self._forbidden]
        normals = np.vstack([np.ones(k), closed, *(normal[None] for normal, _ in fixed)])
        return normals, np.array([1.0, *np.zeros(len(closed)), *(value for _, value in fixed)])

    @cached_property
    def _free(self) -> Array:
        """Projection (`k x k`) onto the directions that keep the sum and what is fixed."""
        fixed, _ = self._equalities
        # equalities may depend on each other, by more than pinv's own limit of rounding
        free = np.eye(len(self.experts)) - np.linalg.pinv(fixed, rcond=RANK) @ fixed
        # exactly: a closed expert has no room for rounding, and a line of rounding alone leads away
        free[:, self._closed] = 0.0
        free[np.abs(free) < RANK] = 0.0
        return np.asarray(free)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw feasible weights (`n x k`) from Dirichlet distributions around the tempered prior."""
        prior, _ = self.weights_for(self.space.prior_vector())
        tempered = np.maximum(prior, 1e-3) ** TEMPER
        tempered /= tempered.sum()
        low, high = np.log(CONCENTRATION[0]), np.log(CONCENTRATION[1] * len(self.experts))
        totals = np.exp(rng.uniform(low, high, size=n))
        gammas = rng.gamma(np.maximum(totals[:, None] * tempered, 0.02)) + 1e-12
        draws = gammas / gammas.sum(axis=1, keepdims=True)
        if self.space.near is not None:
            # half of them on the way from a run, since most others end on the border
            anchors, _ = self.anchors
            half = n // 2
            start = anchors[rng.integers(len(anchors), size=half)]
            draws[:half] = start + rng.uniform(size=(half, 1)) * (draws[:half] - start)
        return self.pull(draws)

    def sample_uniform(self, n: int, rng: np.random.Generator) -> Array:
        """Draw weights (`n x k`) uniformly from all that are allowed.

        Draws from the whole simplex are kept where enough of them are allowed. Else chains of
        hit-and-run draw (Smith 1984): a random line through a point, and a point on it uniformly; a
        point that other limits forbid shortens the line, as in slice sampling (Neal 2003).
        """
        draws = rng.dirichlet(np.ones(len(self.experts)), 8 * n)
        allowed = draws[self.space.contains(self.ratios(draws))]
        if len(allowed) >= n:
            return np.asarray(allowed[:n])
        count = min(CHAINS, n)
        points = self.sample(count, rng)
        drawn = [points]
        kept = (n + count - 1) // count
        for _ in range(min(STEPS, STEPS_EACH * len(self.experts)) + kept):
            points = self._step(points, rng)
            drawn.append(points)
        return np.vstack(drawn[-kept:])[:n]

    def _step(self, points: Array, rng: np.random.Generator) -> Array:
        """Return one step of hit-and-run from each of some allowed points (`n x k`)."""
        normals, offsets = self._half_spaces
        lines = rng.normal(size=points.shape) @ self._free
        slopes, room = lines @ normals.T, points @ normals.T - offsets
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = -np.maximum(room, 0.0) / slopes
        high = np.where(slopes < -1e-15, steps, np.inf).min(axis=1)
        low = np.where(slopes > 1e-15, steps, -np.inf).max(axis=1)
        # where the limits leave a single point there is no line
        high = np.where(np.isfinite(high), high, 0.0)
        low = np.where(np.isfinite(low), low, 0.0)
        moved, open_to = points.copy(), np.ones(len(points), dtype=bool)
        for _ in range(SHRINKS):
            at = rng.uniform(low, np.maximum(high, low))
            tried = np.maximum(points + at[:, None] * lines, 0.0)
            good = open_to & self.space.contains(self.ratios(tried), tolerance=1e-7)
            moved[good] = tried[good]
            open_to &= ~good
            if not open_to.any():
                break
            low, high = np.where(at < 0, at, low), np.where(at >= 0, at, high)
        return moved
