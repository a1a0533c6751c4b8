"""The table of surrogate models: one file for each model, one entry here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module

from mixopt.mixture import Seed
from mixopt.surrogates.base import MIN_TRIALS, SurrogateModel, as_seed


@dataclass(frozen=True)
class ModelSpec:
    """How to construct a model, and the data that it needs.

    Attributes:
        path: `module:callable` inside `mixopt.surrogates`.
        arguments: Keyword arguments of the callable.
        min_trials: Smallest number of trials for `d` domains.
        seeded: Whether the callable takes a `seed`.
        max_domains: Largest number of domains.
        is_process: Whether it is a Gaussian process, of low rank for large tables (`covariance`).
    """

    path: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    min_trials: Callable[[int], int] = lambda d: MIN_TRIALS
    seeded: bool = False
    max_domains: int = 1000
    is_process: bool = False


IDENTITY, ROOT, LOG = ({"features": name} for name in ("identity", "sqrt", "log"))


def _above_terms(d: int) -> int:
    return max(d + 2, MIN_TRIALS)


SURROGATES: Mapping[str, ModelSpec] = {
    "effective_tokens": ModelSpec("scaling_law_gp:ScalingLawGP", is_process=True),
    "gp_log": ModelSpec("gaussian_process:GaussianProcess", LOG, is_process=True),
    "gp_root": ModelSpec("gaussian_process:GaussianProcess", ROOT, is_process=True),
    "gp_shared": ModelSpec("shared_gp:SharedGaussianProcess", ROOT, is_process=True),
    "gp_shared_log": ModelSpec("shared_gp:SharedGaussianProcess", LOG, is_process=True),
    "mariner": ModelSpec("mariner:Mariner"),
    "ridge_root": ModelSpec("linear:Ridge", ROOT),
    "trees": ModelSpec("trees:BoostedTrees", seeded=True),
    "constant": ModelSpec("constant:Constant"),
    "radial_basis": ModelSpec("radial_basis:RadialBasis"),
    "ridge": ModelSpec("linear:Ridge", IDENTITY),
    "ridge_log": ModelSpec("linear:Ridge", LOG),
    "linear": ModelSpec("linear:LeastSquares", IDENTITY, _above_terms),
    "linear_root": ModelSpec("linear:LeastSquares", ROOT, _above_terms),
    "linear_log": ModelSpec("linear:LeastSquares", LOG, _above_terms),
    "scheffe": ModelSpec("linear:ScheffeQuadratic", max_domains=64),
    "data_mixing_law": ModelSpec("exponential:data_mixing_law"),
    "log_linear": ModelSpec("exponential:log_linear"),
    "code_law": ModelSpec("code_law:code_law", max_domains=32),
    # from 41 runs: below, LightGBM's default min_child_samples=20 gives a constant
    "regmix": ModelSpec("trees:RegMix", min_trials=lambda d: 41),
}
"""By the name that `surrogates:` of a recipe and `fit(surrogates=...)` take."""

AUTO = ("effective_tokens", "gp_log", "gp_root", "mariner", "ridge_root", "trees", "constant")
"""The models that `auto` stacks."""


def make_model(name: str, seed: Seed = 0) -> SurrogateModel:
    """Return an unfitted model.

    Args:
        name: A key of `SURROGATES`.
        seed: Seed of the models that draw random numbers; the others ignore it.
    """
    spec = SURROGATES[name]
    module, attribute = spec.path.split(":")
    factory = getattr(import_module(f"mixopt.surrogates.{module}"), attribute)
    seeds = {"seed": as_seed(seed)} if spec.seeded else {}
    model: SurrogateModel = factory(**spec.arguments, **seeds)
    return model
