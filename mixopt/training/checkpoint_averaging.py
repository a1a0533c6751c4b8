"""Averaging: weights for the last checkpoints of one training, in place of a decaying rate.

WSM (arXiv:2507.17634): with a constant rate, Σ_j c_j θ_{n+j} over the checkpoints of the last
stretch is what a decaying rate would have reached, for a decay of any shape.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mixopt.config.training import CheckpointAverage

Array = NDArray[np.float64]

EMA_DECAY = 10**-0.1
"""β of the moving average; with ten checkpoints WSM's figure 2."""

DECAYS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda t: 1 - t,
    "cosine": lambda t: (1 + np.cos(np.pi * t)) / 2,
    "1-sqrt": lambda t: 1 - np.sqrt(t),
}
"""Learning rate, as a share of its peak, by the share t of the decay that has passed."""


def checkpoint_weights(kind: CheckpointAverage, n: int, *, floor: float = 0.0) -> Array:
    """Weights of `n` checkpoints, oldest first; they sum to 1 and the newest always counts.

    With w_i = r + (1 − r)·f(i/n) for i = 1 … n − 1, the share of the i-th stretch's step that is
    kept, c_{n−1} = w_{n−1}, c_j = w_j − w_{j+1} and c_0 = 1 − w_1 (WSM, theorem 3.1). Stretches
    are counted to n, not to n − 1, where f would be 0 and the newest checkpoint would drop out.
    The plain mean is the linear decay.

    Args:
        kind: Shape of the decay.
        n: How many checkpoints.
        floor: Lowest rate ÷ peak rate at the decay's end (r); not used by `ema`, which never ends.
    """
    if kind == "mean":
        return np.full(n, 1 / n)
    if kind == "ema":
        kept = 1 - EMA_DECAY ** np.arange(n - 1, 0, -1)
    else:
        kept = floor + (1 - floor) * DECAYS[kind](np.arange(1, n) / n)
    steps = np.concatenate([[1.0], kept, [0.0]])
    return np.asarray(steps[:-1] - steps[1:])
