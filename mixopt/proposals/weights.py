"""From experts' weights to ratios of tokens: λ = Σ_k α_k · composition_k.

An expert trained on 50% general data stands for a mixture, not for a domain, so the weights that
are searched are not the ratios that are proposed (METHODS §2.6). Bounds hold on the ratios.

Shapes: `k` experts, `d` domains, `n` mixtures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linprog, nnls

from mixopt.errors import InfeasibleError
from mixopt.mixture import Array, Mixture, SearchSpace

CONCENTRATION = (1.0, 4.0)
"""Total Dirichlet concentration: log-uniform from the first to the second times `k`."""
TEMPER = 0.7
"""Exponent on the prior, as in DeMix's sampler: small domains are drawn more than they are had."""
PROJECTION_SWEEPS = 100
PROJECTION_TOLERANCE = 1e-7
SUM_WEIGHT = 1e4
"""Weight of Σα = 1 in the least squares that turns ratios into weights."""


@dataclass(frozen=True, eq=False)
class WeightSpace:
    """Weights of `k` experts on the simplex whose ratios meet the bounds of `space`.

    Attributes:
        space: Bounds on the ratios of `d` domains.
        experts: Names of the `k` experts.
        composition: Ratios of the tokens that each expert was trained on, `k x d`.
    """

    space: SearchSpace
    experts: tuple[str, ...]
    composition: Array

    @classmethod
    def of_domains(cls, space: SearchSpace) -> "WeightSpace":
        """One expert per domain: weights are ratios."""
        return cls(space, space.domains, np.eye(len(space.domains)))

    @classmethod
    def of_rows(cls, space: SearchSpace, rows: Mapping[str, Mixture]) -> "WeightSpace":
        """Experts by name with their compositions."""
        matrix = np.stack([row.vector(space.domains) for row in rows.values()])
        return cls(space, tuple(rows), matrix)

    def ratios(self, weights: Array) -> Array:
        """Ratios (`n x d`) of weights (`n x k`)."""
        return np.asarray(weights @ self.composition)

    def weights_for(self, ratios: Array) -> tuple[Array, float]:
        """The weights (`k`) whose ratios are nearest to `ratios` (`d`), and the largest miss."""
        stacked = np.vstack([self.composition.T, np.full((1, len(self.experts)), SUM_WEIGHT)])
        weights, _ = nnls(stacked, np.append(ratios, SUM_WEIGHT))
        weights = weights / weights.sum()
        return weights, float(np.abs(self.ratios(weights) - ratios).max())

    @cached_property
    def centre(self) -> Array:
        """The weights (`k`) with most room to every bound (a linear programme).

        Raises:
            InfeasibleError: No weights of these experts meet the bounds.
        """
        low, high = self.space.bounds()
        k, room = len(self.experts), (high > low).astype(float)
        rows = np.vstack([
            np.hstack([-self.composition.T, room[:, None]]),  # λ - t >= low
            np.hstack([self.composition.T, room[:, None]]),  # λ + t <= high
            np.hstack([-np.eye(k), np.ones((k, 1))]),  # α >= t
        ])  # fmt: skip
        solved = linprog(
            c=np.append(np.zeros(k), -1.0),
            A_ub=rows,
            b_ub=np.concatenate([-low, high, np.zeros(k)]),
            A_eq=np.append(np.ones(k), 0.0)[None, :],
            b_eq=[1.0],
            bounds=[(0, 1)] * k + [(0, 1)],
        )
        if not solved.success:
            raise InfeasibleError(self._explain_infeasible(low, high))
        weights = np.asarray(solved.x, dtype=np.float64)[:k]
        return np.asarray(weights / weights.sum())

    def _explain_infeasible(self, low: Array, high: Array) -> str:
        for index, domain in enumerate(self.space.domains):
            least, most = self.composition[:, index].min(), self.composition[:, index].max()
            if low[index] > most + 1e-9 or high[index] < least - 1e-9:
                return (
                    f"The experts reach between {least:.3g} and {most:.3g} of {domain!r}, but its "
                    f"bounds are {low[index]:.3g} to {high[index]:.3g}; change the bounds or the "
                    "anchor share."
                )
        return (
            "The experts' compositions cannot meet all bounds together; widen the bounds or "
            "lower the anchor share."
        )

    def pull(self, weights: Array) -> Array:
        """Feasible weights (`n x k`) near `weights`, themselves where they are feasible.

        Alternating projections onto the violated bounds bring a point to the border where it is,
        not to the middle; what they leave is taken off along the line to the centre, so that
        every bound holds exactly. Frozen ratios stay frozen.
        """
        normals, offsets, frozen = self._half_spaces
        near = _project_in_turn(weights, normals, offsets)
        # directions that change no frozen ratio and keep the sum
        fixed = np.vstack([np.ones(len(self.experts)), frozen])
        free = np.eye(len(self.experts)) - np.linalg.pinv(fixed) @ fixed
        direction = (near - self.centre) @ free
        room = self.centre @ normals.T - offsets
        loss = -(direction @ normals.T)
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.where(loss > 1e-15, np.maximum(room, 0.0) / loss, np.inf)
        step = np.clip(steps.min(axis=1), 0.0, 1.0)[:, None]
        return np.asarray(np.maximum(self.centre + step * direction, 0.0))

    @cached_property
    def _half_spaces(self) -> tuple[Array, Array, Array]:
        """Normals and offsets of normal · α >= offset, and the rows of frozen ratios."""
        low, high = self.space.bounds()
        columns, moving = self.composition.T, high > low
        normals = np.vstack([np.eye(len(self.experts)), columns[moving], -columns[moving]])
        offsets = np.concatenate([np.zeros(len(self.experts)), low[moving], -high[moving]])
        return normals, offsets, columns[~moving]

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Feasible weights (`n x k`) from Dirichlet distributions around the tempered prior."""
        prior, _ = self.weights_for(self.space.prior_vector())
        tempered = np.maximum(prior, 1e-3) ** TEMPER
        tempered /= tempered.sum()
        low, high = np.log(CONCENTRATION[0]), np.log(CONCENTRATION[1] * len(self.experts))
        totals = np.exp(rng.uniform(low, high, size=n))
        gammas = rng.gamma(np.maximum(totals[:, None] * tempered, 0.02)) + 1e-12
        return self.pull(gammas / gammas.sum(axis=1, keepdims=True))


def _project_in_turn(weights: Array, normals: Array, offsets: Array) -> Array:
    """`weights` (`n x k`) projected in turns onto the half-spaces that they violate, sum kept."""
    points = weights.copy()
    centred = normals - normals.mean(axis=1, keepdims=True)
    lengths = np.square(centred).sum(axis=1)
    for _ in range(PROJECTION_SWEEPS):
        worst = 0.0
        for normal, inside, length, offset in zip(normals, centred, lengths, offsets, strict=True):
            missing = np.maximum(offset - points @ normal, 0.0)
            if length > 0 and missing.any():
                points += (missing / length)[:, None] * inside
                worst = max(worst, float(missing.max()))
        if worst < PROJECTION_TOLERANCE:
            break
    return points


def hellinger(first: Array, second: Array) -> Array:
    """Hellinger distances between mixtures `a x d` and `b x d`: `a x b`, from 0 to 1."""
    overlap = np.sqrt(first) @ np.sqrt(second).T
    return np.asarray(np.sqrt(np.clip(1 - overlap, 0.0, None)))


def as_weights(experts: Sequence[str], weights: Array) -> dict[str, float]:
    """Weights by the experts' names."""
    return dict(zip(experts, weights.tolist(), strict=True))
