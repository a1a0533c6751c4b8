"""Which mixtures to run or score: first what covers the space, later where it pays.

Shapes: `n` mixtures, `d` domains, `k` weights of experts (or of domains themselves).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import MixtureError
from mixopt.mixture import Array, Mixture, Seed
from mixopt.optimization.weight_space import WeightSpace, hellinger
from mixopt.search_space import SearchSpace
from mixopt.surrogates.kernels import matern52, square_distances
from mixopt.surrogates.surrogate import Surrogate

POOL = 4096
KAPPAS = (0.0, 1.0, 2.0)
"""Standard deviations added to the expected utility, in turn: expects much, or knows little."""
NEAREST = 0.03
"""Hellinger distance below which a candidate is the same as one already scored."""

OFFSET, LINEAR, LOCAL, LENGTH = 0.25, 4.0, 0.5, 0.7
"""c₀, c₁, c₂ and ℓ above, in units of the scores' variance."""
NOISE = 0.03

Method = Literal["d-optimal", "maximin", "sequential"]


def design_runs(
    space: SearchSpace,
    n: int,
    *,
    seed: Seed = None,
    method: Method = "d-optimal",
    seen: Sequence[Mixture] = (),
    surrogate: Surrogate | None = None,
) -> list[Mixture]:
    """`n` feasible mixtures to train on, so that a surrogate learns most from them.

    Args:
        space: Bounds, groups, inequalities and prior.
        n: How many.
        seed: Seed or generator of every random draw; fresh randomness if None.
        method: `d-optimal` for the effective-token law (the best that was measured, METHODS §12)
            and `maximin` in √r need no scores; `sequential` takes the runs so far into account.
        seen: Mixtures that have been run; the natural one comes first where none has.
        surrogate: Of the runs so far, for `sequential`.

    Raises:
        InfeasibleError: No mixture meets every bound.
        MixtureError: `sequential` without a surrogate.
    """
    rng = np.random.default_rng(seed)
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


def choose_optimal(pool: Array, n: int, seen: Array | None = None) -> NDArray[np.intp]:
    """Places in `pool` (`p x d`) of the `n` mixtures to run, in the order of choice.

    Args:
        pool: Mixtures that could be run.
        n: How many to choose; all of the pool where that is smaller.
        seen: Mixtures that have been run already (`s x d`).
    """
    given = np.empty((0, pool.shape[1])) if seen is None else seen
    roots = np.sqrt(np.vstack([pool, given]))
    centred = roots - roots[: len(pool)].mean(axis=0)
    left = OFFSET + LINEAR * np.square(centred).sum(axis=1) + LOCAL
    learnt = np.zeros((len(roots), len(given) + min(n, len(pool))))
    for step in range(len(given)):
        _learn(roots, centred, left, learnt, step, len(pool) + step)
    chosen: list[int] = []
    for step in range(len(given), learnt.shape[1]):
        best = int(
            np.where(np.isin(np.arange(len(pool)), chosen), -1.0, left[: len(pool)]).argmax()
        )
        chosen.append(best)
        _learn(roots, centred, left, learnt, step, best)
    return np.array(chosen, dtype=np.intp)


def _learn(roots: Array, centred: Array, left: Array, learnt: Array, step: int, place: int) -> None:
    """Takes what a run at `place` tells off the variances `left` (pivoted Cholesky, in place)."""
    near = matern52(square_distances(roots, roots[place : place + 1])[:, 0], LENGTH)
    column = OFFSET + LINEAR * centred @ centred[place] + LOCAL * near
    column = column - learnt[:, :step] @ learnt[place, :step]
    learnt[:, step] = column / np.sqrt(left[place] + NOISE)
    left -= np.square(learnt[:, step])
    np.maximum(left, 0.0, out=left)


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
