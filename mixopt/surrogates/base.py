"""Protocols of the surrogate models.

See docs/methods.md, section 3.1. Shapes: `n` mixtures, `d` domains, `m` metrics.
"""

from typing import Protocol, Self, TypeGuard

import numpy as np

from mixopt.mixture import Array, Seed, require_seed

MIN_TRIALS = 6  # smallest number of trials that a model is fitted to


class SurrogateModel(Protocol):
    """A regression from mixtures to the scores of many metrics.

    Scores are standardized by metric and signed so that lower is better; NaN marks a missing
    score. `noise` is the sampling variance of each score in the same units, 0 where unknown.
    """

    def fit(self, ratios: Array, scores: Array, noise: Array) -> Self:
        """Fit to `n x d` ratios, `n x m` scores and `n x m` noise variances; return self."""

    def refit(self, ratios: Array, scores: Array, noise: Array) -> Self:
        """Return a new model fitted to other runs of the same metrics.

        An implementation may start from the parameters of this one.
        """

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation of a new run (`n x m` each), noise included."""


class DifferentiableModel(SurrogateModel, Protocol):
    """A surrogate model with gradients and with covariances between mixtures."""

    def mean(self, ratios: Array) -> Array:
        """Return the predicted mean alone (`n x m`), which is cheaper than `predict`."""

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Return noise-free scores at `n x d` ratios minus those at `reference` (`d`).

        Returns:
            Mean and variance of the difference (`n x m` each); shared uncertainty cancels.
        """

    def gradient(self, ratios: Array, weights: Array) -> Array:
        """Return the gradient (`n x d`) of Σ_m weights_nm · mean_nm with respect to the ratios."""


def is_differentiable(model: SurrogateModel) -> TypeGuard[DifferentiableModel]:
    """Return whether a model has gradients."""
    return hasattr(model, "gradient")


def smooth_part(model: DifferentiableModel, ratios: Array) -> Array:
    """Return the part of a model's mean that its gradient is of (`n x m`).

    It is all of the mean, unless the model corrects others of which some have no gradient.
    """
    own = getattr(model, "smooth_mean", model.mean)
    return np.asarray(own(ratios))


def smooth_share(model: SurrogateModel) -> float:
    """Return the share of a model's mean that has a gradient."""
    return float(getattr(model, "smooth_share", 1.0)) if is_differentiable(model) else 0.0


def as_seed(seed: Seed) -> int:
    """Return an integer seed.

    Args:
        seed: An integer, which is returned; a generator, which is drawn from; None for fresh entropy.

    Raises:
        ArgumentTypeError: It is none of these.
        UserError: It is negative.
    """
    seed = require_seed(seed)
    return seed if isinstance(seed, int) else int(np.random.default_rng(seed).integers(2**31))
