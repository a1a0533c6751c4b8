"""Constraints on mixtures, and the config of a proposal from a table of runs."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from mixopt.config.base import ConfigModel, NaturalRatios, Share, require_mixture
from mixopt.errors import MixtureError
from mixopt.search_limits import Group, Inequality
from mixopt.search_space import SearchSpace

REFERENCES = ("natural", "uniform", "best seen")
"""Reference mixtures that have a name."""


class GroupConfig(ConfigModel):
    """Bounds on the sum of several domains' ratios."""

    lower: Share = 0.0
    """Smallest sum of the ratios."""
    upper: Share = 1.0
    """Largest sum of the ratios; equal to `lower` to fix it."""
    domains: list[str] = []
    """Members; the domains named `GROUP:...` if left out."""


class InequalityConfig(ConfigModel):
    """An upper limit on a weighted sum of ratios."""

    coefficients: Annotated[dict[str, float], Field(min_length=1)]
    """Weight by domain."""
    limit: float
    """Largest value of the sum."""


class SearchSpaceConfig(ConfigModel):
    """Which mixtures may be proposed."""

    lower: dict[str, Share] = {}
    """Smallest ratio by domain."""
    upper: dict[str, Share] = {}
    """Largest ratio by domain; the caps on repetition apply too."""
    frozen: dict[str, Share] = {}
    """Fixed ratios by domain."""
    groups: dict[str, GroupConfig] = {}
    """Bounds on sums of domains, by name."""
    inequalities: list[InequalityConfig] = []
    """Further linear constraints."""
    max_kl: Annotated[float, Field(ge=0)] | None = None
    """Largest Kullback-Leibler divergence from the natural mixture, in nats."""

    def space(
        self,
        domains: tuple[str, ...],
        *,
        caps: Mapping[str, float] | None = None,
        prior: Mapping[str, float] | None = None,
    ) -> SearchSpace:
        """Return the search space of these constraints.

        Args:
            domains: The `d` domains, in order.
            caps: Largest ratios by domain that apply beside `upper`, from repetition.
            prior: The natural mixture; needed for `max_kl`.

        Raises:
            MixtureError: A constraint names an unknown domain, or max_kl has no natural mixture.
            InfeasibleError: No mixture meets all constraints.
        """
        if self.max_kl is not None and prior is None:
            raise MixtureError(
                "max_kl limits the distance from the natural mixture, and none is given; give its "
                "ratios as natural: (--natural on the shell), or leave max_kl out."
            )
        upper = dict(self.upper)
        for name, cap in (caps or {}).items():
            upper[name] = min(cap, upper.get(name, 1.0))
        groups = {
            name: Group(group.lower, group.upper, tuple(group.domains))
            for name, group in self.groups.items()
        }
        inequalities = tuple(Inequality(i.coefficients, i.limit) for i in self.inequalities)
        return SearchSpace(domains, lower=self.lower, upper=upper, prior=prior, frozen=self.frozen,
                           groups=groups, inequalities=inequalities, max_kl=self.max_kl)  # fmt: skip


class OutcomeConstraintConfig(ConfigModel):
    """Metrics that may not get worse than at a reference mixture, with a probability."""

    than: str | NaturalRatios = "natural"
    """Reference: `natural`, `uniform`, `best seen`, or ratios, percent or counts by domain."""
    tolerance: float | dict[str, float] = 0.0
    """Tolerated loss in the metric's units, for all or by metric."""
    probability: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Probability with which each constraint holds."""
    metrics: list[str] = []
    """Constrained metrics; all with role search if left out."""


class LossToErrorConfig(ConfigModel):
    """Err(L) = epsilon − k·exp(−gamma·L): a benchmark's error as a function of a loss."""

    epsilon: float
    """Error at infinite loss."""
    k: float
    """Scale k."""
    gamma: Annotated[float, Field(gt=0)]
    """Rate per unit of loss."""


class BudgetConfig(ConfigModel):
    """Token budget and available data of the target run."""

    tokens: Annotated[float, Field(gt=0)]
    """Tokens of the target run."""
    available_tokens: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Unique tokens by domain; a domain left out is unlimited."""
    max_repetition: Annotated[float, Field(gt=0)] | dict[str, Annotated[float, Field(gt=0)]] = 4.0
    """Largest number of epochs, for all or by domain (1 for a domain left out)."""
    repetition_term: bool = True
    """Whether surrogates discount repeated tokens."""
    saturation: Annotated[float, Field(gt=0)] | dict[str, Annotated[float, Field(gt=0)]] = 15.387756
    """R* of Muennighoff et al. (2023), the scale of the decay in repetitions, for all or by domain."""


def _fidelity_name(fidelity: object) -> object:
    if isinstance(fidelity, int | float) and not isinstance(fidelity, bool):
        if abs(fidelity) > 1e300:
            raise ValueError("a fidelity must be a name or a number below 1e300")
        return f"{fidelity:.15g}"
    return fidelity


class ProposalConfig(SearchSpaceConfig):
    """Constraints and objective of a proposal from a table of runs."""

    natural: NaturalRatios | None = None
    """Natural mixture; if left out, none is assumed and the best run is compared with first."""
    target: str | dict[str, Annotated[float, Field(ge=0)]] = "utility"
    """Objective: `utility`, `average`, `worst`, one metric, or weights by metric."""
    capabilities: dict[str, list[str]] = {}
    """Metrics by capability."""
    capability_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Weight of each capability in `utility`; 1 if left out."""
    surrogates: str | list[str] = "auto"
    """`auto`, or the names of the surrogates to stack."""
    fidelities: list[Annotated[str, BeforeValidator(_fidelity_name)]] | None = None
    """Fidelities of the runs, from the lowest to the predicted one; by size or cost if left out."""
    maximise: Annotated[str, Field(pattern="^(utility|chance)$")] = "utility"
    """Expected utility, or probability (`chance`) of beating `reference`."""
    reference: str | NaturalRatios = "natural"
    """Mixture that the decision is about: `natural` (the best run if none is given), `uniform`,
    `best seen`, or ratios, percent or counts by domain."""
    explore: bool = False
    """Whether proposals may leave what the runs cover."""
    choose_by: Annotated[str, Field(pattern="^(surrogate|neighbors)$")] = "surrogate"
    """What chooses among the best candidates: the `surrogate`, or what runs near them measured."""
    no_worse: OutcomeConstraintConfig | None = None
    """Constraint on metrics that may not get worse."""
    budget: BudgetConfig | None = None
    """Target run, whose data caps the ratios."""
    error_laws: dict[str, LossToErrorConfig] = {}
    """Map from loss to a benchmark's error, by metric."""

    @model_validator(mode="after")
    def _names_are_references(self) -> "ProposalConfig":
        for where, given in (
            ("natural", self.natural),
            ("reference", self.reference),
            ("no_worse.than", self.no_worse and self.no_worse.than),
        ):
            if isinstance(given, str) and given not in REFERENCES:
                raise ValueError(f"{where} is {given!r}; give {', '.join(REFERENCES)}, or ratios")
            if isinstance(given, Mapping):
                require_mixture(where, given)
        return self
