"""Optimal designs: the runs that leave least unknown, chosen before any is made.

Greedy D-optimal choice (the next run is the one whose score is least known given those before) for
a Gaussian process whose kernel stands for the effective-token law and what it misses:

    k(r, r') = c₀ + c₁ ⟨√r − m, √r' − m⟩ + c₂ Matérn52(‖√r − √r'‖ / ℓ),    m the pool's mean of √r

It needs no scores, and was better than sequential designs by variance and than designs for one
metric (METHODS §12, "dopt-mix").

Shapes: `n` chosen of a pool of `p` mixtures over `d` domains, `s` seen before.
"""

import numpy as np
from numpy.typing import NDArray

from mixopt.mixture import Array
from mixopt.surrogates.kernels import matern52, square_distances

OFFSET, LINEAR, LOCAL, LENGTH = 0.25, 4.0, 0.5, 0.7
"""c₀, c₁, c₂ and ℓ above, in units of the scores' variance."""
NOISE = 0.03


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
