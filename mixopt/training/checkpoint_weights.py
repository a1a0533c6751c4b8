"""Weights of the checkpoints whose average replaces a decaying learning rate (WSM, arXiv:2507.17634)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mixopt.config.training import CheckpointAverage

Array = NDArray[np.float64]

EMA_DECAY = 10**-0.1
"""β of the moving average; with ten checkpoints as in figure 2 of WSM."""

DECAYS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda t: 1 - t,
    "cosine": lambda t: (1 + np.cos(np.pi * t)) / 2,
    "1-sqrt": lambda t: 1 - np.sqrt(t),
}
"""Learning rate as a share of its peak, by the elapsed share t of the decay."""


def checkpoint_weights(kind: CheckpointAverage, n: int, *, floor: float = 0.0) -> Array:
    """Return weights of `n` checkpoints, oldest first; they sum to 1 and the newest is positive.

    Let w_i = r + (1 − r)·f(i/n), i = 1 … n − 1, be the share of the updates between checkpoints i − 1
    and i that is kept. Then c_{n−1} = w_{n−1}, c_j = w_j − w_{j+1} and c_0 = 1 − w_1 (WSM, theorem
    3.1). The argument is i/n, not i/(n − 1): there f would be 0 for the newest checkpoint. A linear
    decay to zero gives the plain mean. With a constant rate, the average Σ_j c_j θ_{n+j} approximates
    what a decaying rate would have reached (WSM, arXiv:2507.17634; docs/methods.md, section 1.3).

    Args:
        kind: Shape of the decay.
        n: Number of checkpoints.
        floor: Final rate ÷ peak rate (r); unused by `mean` and `ema`.

    Returns:
        Weights c (`n`).
    """
    if kind == "mean":
        return np.full(n, 1 / n)
    if kind == "ema":
        kept = 1 - EMA_DECAY ** np.arange(n - 1, 0, -1)
    else:
        kept = floor + (1 - floor) * DECAYS[kind](np.arange(1, n) / n)
    steps = np.concatenate([[1.0], kept, [0.0]])
    return np.asarray(steps[:-1] - steps[1:])
