"""Whether rounding explains that a model scores the same tokens differently in two batches."""

import torch

LARGEST = {torch.float32: 1e-3, torch.float64: 1e-3}
MEAN_IN_HALF_PRECISION = 0.05
"""Differences of log-probabilities (nats) that rounding explains: the largest in full precision, the
mean in half precision, where rounding moves single tokens far."""


def is_rounding_error(differences: torch.Tensor, dtype: torch.dtype) -> bool:
    """Return whether differences of log-probabilities are as small as rounding makes them.

    Args:
        differences: Absolute, of any shape (nats).
        dtype: Type of the model's parameters.
    """
    if dtype in LARGEST:
        return bool(differences.max() <= LARGEST[dtype])
    return bool(differences.mean() <= MEAN_IN_HALF_PRECISION)
