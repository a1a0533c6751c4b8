"""Which mixtures to run or score: first what covers the space, later where it pays.

Shapes: `n` mixtures, `d` domains, `k` weights of experts (or of domains themselves).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mixopt.errors import MixtureError
from mixopt.mixture import Array, Mixture
from mixopt.optimization.optimal_design import choose_optimal
from mixopt.optimization.weight_space import WeightSpace, hellinger
from mixopt.search_space import SearchSpace
from mixopt.surrogates.surrogate import Surrogate

POOL = 4096
KAPPAS = (0.0, 1.0, 2.0)
"""Standard deviations added to the expected utility, in turn: expects much, or knows little."""
NEAREST = 0.03
"""Hellinger distance below which a candidate is the same as one already scored."""

Method = Literal["d-optimal", "maximin", "sequential"]


def design_runs(
    space: SearchSpace,
    n: int,
    *,
    rng: np.random.Generator,
    method: Method = "d-optimal",
    seen: Sequence[Mixture] = (),
    surrogate: Surrogate | None = None,
) -> list[Mixture]:
    """`n` feasible mixtures to train on, so that a surrogate learns most from them.

    Args:
        space: Bounds, groups, inequalities and prior.
        n: How many.
        rng: Source of all randomness here.
        method: `d-optimal` for the effective-token law (the best that was measured, METHODS §12)
            and `maximin` in √r need no scores; `sequential` takes the runs so far into account.
        seen: Mixtures that have been run; the natural one comes first where none has.
        surrogate: Of the runs so far, for `sequential`.

    Raises:
        InfeasibleError: No mixture meets every bound.
        MixtureError: `sequential` without a surrogate.
    """
    weights = WeightSpace.of_domains(space)
    given = np.array([mixture.vector(space.domains) for mixture in seen])
    given = given.reshape(-1, len(space.domains))
    if method == "sequential":
        if surrogate is None:
            raise MixtureError("A sequential design needs runs with scores; give a table of them.")
        rows = design_next_round(weights, surrogate, given, n, rng)
        return [Mixture.from_vector(space.domains, row) for row in rows]
    first = np.empty((0, len(space.domains)))
    if not len(given):
        first = weights.pull(space.prior_vector()[None])[:n]
    start = np.vstack([given, first])
    if method == "maximin":
        rows = spread(weights, start, n - len(first), rng)
    else:
        pool = weights.sample(max(POOL, 2 * n), rng)
        rows = pool[choose_optimal(pool, n - len(first), start)]
    return [Mixture.from_vector(space.domains, row) for row in np.vstack([first, rows])]


def design_first_round(space: WeightSpace, n: int, rng: np.random.Generator) -> Array:
    """Weights (`n x k`): natural, centroid, corners, then what is farthest from all of these.

    Corners are the experts themselves. They are scored even where bounds forbid proposing them:
    they cost nothing more, and the surrogate learns what a bound keeps it from.
    """
    k = len(space.experts)
    natural, _ = space.weights_for(space.space.prior_vector())
    # all corners or none: a few of them would leave domains out by the order of their names
    corners = np.eye(k) if k + 2 <= n else np.empty((0, k))
    fixed = np.vstack([natural, np.full(k, 1 / k), corners])[:n]
    _, first = np.unique(fixed.round(9), axis=0, return_index=True)
    chosen = fixed[np.sort(first)]
    return np.vstack([chosen, spread(space, space.ratios(chosen), n - len(chosen), rng)])


def spread(space: WeightSpace, start: Array, n: int, rng: np.random.Generator) -> Array:
    """Weights (`n x k`) of mixtures far from `start` (ratios, `? x d`) and from each other.

    Maximin in Hellinger distance over a pool around the prior.
    """
    pool = space.sample(max(POOL, 2 * n), rng)
    ratios = space.ratios(pool)
    nearest = hellinger(ratios, start).min(axis=1)
    chosen = []
    for _ in range(n):
        best = int(nearest.argmax())
        chosen.append(pool[best])
        nearest = np.minimum(nearest, hellinger(ratios, ratios[best : best + 1])[:, 0])
    return np.array(chosen).reshape(n, len(space.experts))


def design_next_round(
    space: WeightSpace, surrogate: Surrogate, seen: Array, n: int, rng: np.random.Generator
) -> Array:
    """Weights (`n x k`) where the surrogate expects much or knows little, apart from `seen`.

    An upper confidence bound whose κ goes round `KAPPAS`; the pool is half drawn from the prior
    and half from around the best of it.
    """
    order = [space.space.domains.index(name) for name in surrogate.domains]
    pool = space.sample(POOL, rng)
    expected = surrogate.expected_utility(space.ratios(pool)[:, order])
    best = pool[np.argsort(-expected)[: POOL // 16]]
    pool = np.vstack([pool, perturb(space, best, POOL, rng)])
    ratios = space.ratios(pool)
    mean, std = surrogate.predict_utility(ratios[:, order])
    distances = hellinger(ratios, space.ratios(seen)).min(axis=1)
    chosen: list[Array] = []
    for index in range(n):
        hopes = mean + KAPPAS[index % len(KAPPAS)] * std
        open_to = distances > NEAREST
        if not open_to.any():  # bounds so tight that all candidates are one: take what is left
            open_to = np.ones(len(pool), dtype=bool)
        pick = int(np.where(open_to, hopes, -np.inf).argmax())
        chosen.append(pool[pick])
        distances = np.minimum(distances, hellinger(ratios, ratios[pick : pick + 1])[:, 0])
    return np.stack(chosen)


def perturb(space: WeightSpace, around: Array, n: int, rng: np.random.Generator) -> Array:
    """Feasible weights (`n x k`) near rows of `around`: each mixed with a fresh draw."""
    rows = around[rng.integers(len(around), size=n)]
    share = rng.uniform(0.02, 0.3, size=(n, 1))
    return space.pull((1 - share) * rows + share * space.sample(n, rng))
