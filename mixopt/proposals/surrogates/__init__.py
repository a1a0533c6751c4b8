"""Surrogates of one metric: score as a function of the mixture, with a standard deviation.

One file per law, one line in `SURROGATES` to add another.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class MetricSurrogate(Protocol):
    """Learns one metric from `n x d` ratios and `n` scores."""

    def fit(self, ratios: Array, scores: Array) -> "MetricSurrogate":
        """Itself, fitted; the scores are standardised (mean 0, standard deviation 1)."""

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n` each) at `n x d` ratios."""


SURROGATES = {
    "gaussian_process": "mixopt.proposals.surrogates.gaussian_process:GaussianProcess",
    "quadratic": "mixopt.proposals.surrogates.quadratic:Quadratic",
    "trees": "mixopt.proposals.surrogates.trees:Trees",
}
"""In the order of preference where cross-validation cannot tell them apart."""


def surrogate_factory(name: str) -> Callable[[int], MetricSurrogate]:
    """What makes an unfitted surrogate called `name` from a seed."""
    module, attribute = SURROGATES[name].split(":")
    factory: Callable[[int], MetricSurrogate] = getattr(import_module(module), attribute)
    return factory
