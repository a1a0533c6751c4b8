"""The noise of one run, from repeats: runs of one mixture at one fidelity.

See docs/methods.md, section 4.8. Shapes: `n` runs, `d` domains, `m` metrics.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixopt.mixture import Array

ALIKE = 6  # decimals to which the ratios of repeats agree, as in the folds of a cross-validation
FOLDS = 4  # of a cross-validation
SHARED_COUNT = 4.0  # degrees of freedom that the mean over metrics weighs beside a metric's own


@dataclass(frozen=True, eq=False)
class RunNoise:
    """What repeats tell of the noise of one run.

    Attributes:
        stds: Standard deviation of the noise by metric (`m`), in the metric's units.
        repeats: Runs beyond the first of their mixture: the degrees of freedom.
        mixtures: Mixtures that were run more than once.
    """

    stds: Array
    repeats: int
    mixtures: int


def group_repeats(ratios: Array) -> NDArray[np.intp]:
    """Return the number of each run's mixture (`n`); repeats have the same.

    Args:
        ratios: `n x d`.
    """
    _, same = np.unique(ratios.round(ALIKE), axis=0, return_inverse=True)
    return np.asarray(same.ravel())


def assign_folds(ratios: Array, seed: int) -> NDArray[np.intp]:
    """Return the fold of each run (`n`), of at most `FOLDS`; repeats of a mixture share one.

    Args:
        ratios: `n x d`.
        seed: Seed of the assignment.
    """
    same = group_repeats(ratios)
    order = np.random.default_rng(seed).permutation(int(same.max()) + 1)
    return np.asarray((order % min(FOLDS, len(order)))[same])


def measure_noise(ratios: Array, scores: Array) -> RunNoise | None:
    """Return the noise of one run; None where no mixture was run twice.

    Variances within mixtures are pooled by metric. In units of the variance over all runs they are
    shrunk towards their mean over metrics, because few repeats tell little about one metric.

    Args:
        ratios: `n x d`.
        scores: `n x m`, NaN where missing.
    """
    groups = group_repeats(ratios)
    squares, counts = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    repeated = np.flatnonzero(np.bincount(groups) > 1)
    for group in repeated:
        own = scores[groups == group]
        known = np.isfinite(own).sum(axis=0)
        some = known > 1
        squares[some] += np.nanvar(own[:, some], axis=0, ddof=1) * (known[some] - 1)
        counts += np.maximum(known - 1, 0)
    if not counts.any():
        return None
    spread = np.array([column[np.isfinite(column)].var() for column in scores.T])
    relative = squares / np.where(spread > 0, spread, 1.0)
    shared = relative.sum() / counts.sum()
    variances = (relative + SHARED_COUNT * shared) / (counts + SHARED_COUNT) * spread
    repeats = int(np.bincount(groups)[repeated].sum()) - len(repeated)
    return RunNoise(np.sqrt(variances), repeats, len(repeated))
