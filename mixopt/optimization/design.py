"""Experimental designs: which mixtures to run or score next.

See docs/methods.md, section 7.4.
Shapes: `n` mixtures, `d` domains, `k` weights of experts (or of domains), `p` pool.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import MixtureError, did_you_mean, require_count, require_type
from mixopt.mixture import (
    Array,
    Mixture,
    MixtureLike,
    Seed,
    as_mixture,
    hellinger,
    require_domains,
    require_seed,
)
from mixopt.optimization.weight_space import WeightSpace
from mixopt.search_space import SearchSpace
from mixopt.surrogates.covariance import choose_centers
from mixopt.surrogates.kernels import matern52, square_distances
from mixopt.surrogates.surrogate import Surrogate

POOL = 4096  # random candidates that a design chooses from
KAPPAS = (0.0, 1.0, 2.0)
"""Standard deviations added to the expected utility, in turn: from exploitation to exploration."""
NEAREST = 0.03  # Hellinger distance below which a candidate counts as already scored
OFFSET, LINEAR, LOCAL, LENGTH = 0.25, 4.0, 0.5, 0.7
"""c₀, c₁, c₂ and ℓ of `choose_optimal`, in units of the scores' variance."""
MOST_SEEN = (
    1024  # earlier runs that `choose_optimal` conditions on: each costs a column of the pool
)
NOISE = 0.03  # noise variance of `choose_optimal`, in the same units

Method = Literal["d-optimal", "maximin", "sequential"]


def design_runs(
    space: SearchSpace,
    n: int,
    *,
    seed: Seed = None,
    method: Method = "d-optimal",
    seen: Sequence[MixtureLike] = (),
    surrogate: Surrogate | None = None,
) -> list[Mixture]:
    """Return `n` feasible mixtures to run, chosen to fit a surrogate well.

    Args:
        space: Bounds, groups, inequalities and prior.
        n: Number of mixtures.
        seed: Seed or generator of every random draw; fresh randomness if None.
        method: `d-optimal` for the effective-token model (best of those compared in
            docs/methods.md, section 7.4) or `maximin` in Hellinger distance, which need no scores, or
            `sequential`, which uses the scores so far.
        seen: Mixtures already run, in any form that `as_mixture` takes. If there are none, the
            first mixture is the prior, or the uniform mixture without a prior.
        surrogate: Fitted to the runs so far, for `sequential`.

    Returns:
        The mixtures, in the order in which to run them.

    Raises:
        InfeasibleError: No mixture meets every bound.
        MixtureError: `sequential` without a surrogate or runs, or with a surrogate of other domains;
            or an unknown method.
        UserError: `n` or `seed` is negative.
        ArgumentTypeError: An argument is of another type.
    """
    require_type("space", space, SearchSpace, "give mixopt.SearchSpace(domains, ...)")
    if method not in (known := get_args(Method)):
        raise MixtureError(f"No design is called {method!r}. {did_you_mean(method, known)}")
    n = require_count("n", n, 0)
    rng = np.random.default_rng(require_seed(seed))
    weights = WeightSpace.of_domains(space)
    given = np.array([as_mixture(m, space.domains).vector(space.domains) for m in seen])
    given = given.reshape(-1, len(space.domains))
    if method == "sequential":
        if surrogate is None or not len(given):
            raise MixtureError("A sequential design needs runs with scores; give a table of them.")
        require_type("surrogate", surrogate, Surrogate, "fit the trials with mixopt.fit")
        require_domains("The search space", space.domains, surrogate.domains)
        require_domains("The surrogate", surrogate.domains, space.domains)
        rows = design_next_round(weights, surrogate, given, n, rng)
        return [Mixture.from_vector(space.domains, row) for row in rows]
    first = given[:0] if len(given) else weights.pull(space.prior_vector()[None])[:n]
    start = np.vstack([given, first])
    if method == "maximin":
        rows = spread(weights, start, n - len(first), rng)
    else:
        pool = weights.sample(max(POOL, 2 * n), rng)
        rows = pool[choose_optimal(pool, n - len(first), start)]
    return [Mixture.from_vector(space.domains, row) for row in np.vstack([first, rows])]


def choose_optimal(pool: Array, n: int, seen: Array | None = None) -> NDArray[np.intp]:
    """Choose mixtures greedily by D-optimality.

    Each choice is the mixture with the largest posterior variance, given those before, of a
    Gaussian process whose kernel stands for the effective-token model and its residual:

        k(r, r') = c₀ + c₁ ⟨√r − m, √r' − m⟩ + c₂ Matérn52(‖√r − √r'‖ / ℓ),    m the pool's mean of √r

    Args:
        pool: Mixtures that may be run (`p x d`).
        n: Number of choices; all of the pool if it is smaller.
        seen: Mixtures already run (`? x d`); of many, `MOST_SEEN` that are spread over all stand for
            them.

    Returns:
        Indices into `pool`, in the order of choice.
    """
    given = np.empty((0, pool.shape[1])) if seen is None else seen
    given = given[choose_centers(np.sqrt(given), MOST_SEEN)] if len(given) else given
    roots = np.sqrt(np.vstack([pool, given]))
    centred = roots - roots[: len(pool)].mean(axis=0)
    left = OFFSET + LINEAR * np.square(centred).sum(axis=1) + LOCAL
    factor = np.zeros((len(roots), len(given) + min(n, len(pool))))
    for step in range(len(given)):
        _condition(roots, centred, left, factor, step, len(pool) + step)
    chosen: list[int] = []
    for step in range(len(given), factor.shape[1]):
        taken = np.isin(np.arange(len(pool)), chosen)
        best = int(np.where(taken, -1.0, left[: len(pool)]).argmax())
        chosen.append(best)
        _condition(roots, centred, left, factor, step, best)
    return np.array(chosen, dtype=np.intp)


def _condition(
    roots: Array, centred: Array, left: Array, factor: Array, step: int, place: int
) -> None:
    """Update the variances `left` for a run at `place` (one pivoted Cholesky step, in place)."""
    near = matern52(square_distances(roots, roots[place : place + 1])[:, 0], LENGTH)
    column = OFFSET + LINEAR * centred @ centred[place] + LOCAL * near
    column = column - factor[:, :step] @ factor[place, :step]
    factor[:, step] = column / np.sqrt(left[place] + NOISE)
    left -= np.square(factor[:, step])
    np.maximum(left, 0.0, out=left)


def design_first_round(space: WeightSpace, n: int, rng: np.random.Generator) -> Array:
    """Return weights (`n x k`): natural, centroid, corners, then a maximin design.

    Corners are the experts themselves. They are scored even if bounds forbid proposing them: they
    need no merge, and the surrogate is fitted beyond the bounds.

    Args:
        space: Weights of `k` experts.
        n: Number of candidates.
        rng: Draws the pool of the design.
    """
    k = len(space.experts)
    natural, _ = space.weights_for(space.space.prior_vector())
    # all corners or none: a few of them would prefer the domains that come first by name
    corners = np.eye(k) if k + 2 <= n else np.empty((0, k))
    fixed = np.vstack([natural, np.full(k, 1 / k), corners])[:n]
    _, first = np.unique(fixed.round(9), axis=0, return_index=True)
    chosen = fixed[np.sort(first)]
    return np.vstack([chosen, spread(space, space.ratios(chosen), n - len(chosen), rng)])


def spread(
    space: WeightSpace,
    start: Array,
    n: int,
    rng: np.random.Generator,
    allowed: Callable[[Array], bool] | None = None,
) -> Array:
    """Return weights (`n x k`) of mixtures far from `start` and from each other.

    Greedy maximin in Hellinger distance over a random pool around the prior.

    Args:
        space: Weights of `k` experts.
        start: Ratios of the mixtures so far (`? x d`).
        n: Number of mixtures.
        rng: Draws the pool.
        allowed: Whether ratios (`d`) may be among them; there are fewer than `n` where it allows few.
    """
    pool = space.sample(max(POOL, 2 * n), rng)
    ratios = space.ratios(pool)
    if allowed is not None:
        kept = np.array([allowed(row) for row in ratios], dtype=bool)
        pool, ratios = pool[kept], ratios[kept]
        n = min(n, len(pool))
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
    """Return weights (`n x k`) with the largest upper confidence bounds, apart from `seen`.

    κ of the bound alternates over `KAPPAS`. Half of the pool is drawn around the prior and half is
    perturbed from the best of it.

    Args:
        space: Weights of `k` experts.
        surrogate: Fitted to the candidates so far.
        seen: Their weights (`? x k`).
        n: Number of candidates.
        rng: Draws the pool.
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
        bound = mean + KAPPAS[index % len(KAPPAS)] * std
        open_to = distances > NEAREST
        # tight bounds may leave only mixtures that are already scored
        if not open_to.any():
            open_to = np.ones(len(pool), dtype=bool)
        pick = int(np.where(open_to, bound, -np.inf).argmax())
        chosen.append(pool[pick])
        distances = np.minimum(distances, hellinger(ratios, ratios[pick : pick + 1])[:, 0])
    return np.array(chosen).reshape(n, len(space.experts))


def perturb(space: WeightSpace, around: Array, n: int, rng: np.random.Generator) -> Array:
    """Return feasible weights (`n x k`) near given ones.

    Args:
        space: Weights of `k` experts.
        around: Weights (`? x k`); each result is a row of them mixed with a random draw.
        n: Number of results.
        rng: Draws rows, shares and mixtures.
    """
    rows = around[rng.integers(len(around), size=n)]
    share = rng.uniform(0.02, 0.3, size=(n, 1))
    return space.pull((1 - share) * rows + share * space.sample(n, rng))
