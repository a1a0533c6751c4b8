"""Surrogates: scores of many metrics as functions of the mixture, with standard deviations.

One file per law; one line in `SURROGATES` to add another. `auto` is a portfolio of `AUTO`.

Shapes: `n` mixtures, `d` domains, `m` metrics, `q` points.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, Self, TypeGuard

from mixopt.mixture import Array

FEWEST_TRIALS = 6
"""Runs without which nothing can be fitted."""


class SurrogateModel(Protocol):
    """What every surrogate does.

    Scores are standardised by metric and turned so that lower is better; NaN where one is missing.
    `noise` is the sampling variance of each score in the same units, 0 where it is not known.
    """

    def fit(self, ratios: Array, scores: Array, noise: Array) -> Self:
        """Itself, fitted to `n x d` ratios, `n x m` scores and their `n x m` variances."""

    def refit(self, ratios: Array, scores: Array, noise: Array) -> Self:
        """Another, fitted to other runs of the same metrics; it may start from what is known."""

    def predict(self, ratios: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (`n x m` each) of a new run at `n x d` ratios."""


class DifferentiableModel(SurrogateModel, Protocol):
    """A law with slopes, which can be climbed, and with covariances between mixtures."""

    def mean(self, ratios: Array) -> Array:
        """The mean alone (`n x m`), which is cheap."""

    def contrast(self, ratios: Array, reference: Array) -> tuple[Array, Array]:
        """Noise-free scores at `n x d` ratios minus those at `reference` (`d`).

        Mean and variance, `n x m` each; what is unsure about both alike does not count.
        """

    def slopes(self, ratios: Array, weights: Array) -> Array:
        """Gradient (`n x d`) by the ratios of Σ_m weights_nm · mean_nm."""


def is_smooth(law: SurrogateModel) -> TypeGuard[DifferentiableModel]:
    """Whether a law has slopes."""
    return hasattr(law, "slopes")


@dataclass(frozen=True)
class Entry:
    """Where a law is made and what it needs.

    Attributes:
        path: `module:function`, called with a seed.
        says: What it is, in a line.
        fewest: Runs that it needs for `d` domains.
        most_domains: Domains that it can be fitted with.
    """

    path: str
    says: str
    fewest: Callable[[int], int] = lambda d: FEWEST_TRIALS
    most_domains: int = 1000


def _more_than_terms(d: int) -> int:
    return max(d + 2, FEWEST_TRIALS)


_HERE = "mixopt.surrogates"

SURROGATES: Mapping[str, Entry] = {
    "effective_tokens": Entry(
        f"{_HERE}.effective_tokens:EffectiveTokens",
        "power law in effective tokens, shared over metrics, with a process for what it misses",
    ),
    "gp_log": Entry(f"{_HERE}.gaussian_process:on_logs", "Gaussian process on log r"),
    "gp_root": Entry(f"{_HERE}.gaussian_process:on_roots", "Gaussian process on √r"),
    "ridge_root": Entry(f"{_HERE}.linear:ridge_on_roots", "ridge on √r"),
    "trees": Entry(f"{_HERE}.trees:Trees", "LightGBM with leaves for few runs"),
    "constant": Entry(f"{_HERE}.constant:Constant", "the mean of the scores"),
    "ridge": Entry(f"{_HERE}.linear:ridge", "ridge on r"),
    "ridge_log": Entry(f"{_HERE}.linear:ridge_on_logs", "ridge on log r"),
    "linear": Entry(f"{_HERE}.linear:ordinary", "least squares on r", fewest=_more_than_terms),
    "linear_root": Entry(
        f"{_HERE}.linear:ordinary_on_roots", "least squares on √r", fewest=_more_than_terms
    ),
    "linear_log": Entry(
        f"{_HERE}.linear:ordinary_on_logs", "least squares on log r", fewest=_more_than_terms
    ),
    "scheffe": Entry(
        f"{_HERE}.quadratic:scheffe", "Scheffé's quadratic with shrinkage", most_domains=64
    ),
    "data_mixing_law": Entry(f"{_HERE}.exponential:data_mixing_law", "c + k·exp(Σ t_j r_j)"),
    "log_linear": Entry(f"{_HERE}.exponential:log_linear", "Olmix's log-linear law, robust"),
    "code_law": Entry(
        f"{_HERE}.code_law:code_law", "proportion-dependent law with synergies", most_domains=32
    ),
    "regmix": Entry(
        f"{_HERE}.regmix:RegMix", "RegMix's LightGBM exactly as published", fewest=lambda d: 41
    ),
}

AUTO = ("effective_tokens", "gp_log", "gp_root", "ridge_root", "trees", "constant")
"""What the default portfolio weighs."""


def make_model(name: str, seed: int) -> SurrogateModel:
    """An unfitted surrogate called `name`."""
    module, attribute = SURROGATES[name].path.split(":")
    factory: Callable[[int], SurrogateModel] = getattr(import_module(module), attribute)
    return factory(seed)
