"""What a YAML may say about the mixtures that may be proposed."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from mixopt.config.base import ConfigModel, Share
from mixopt.errors import MixtureError
from mixopt.search_space import Group, Inequality, SearchSpace


class GroupConfig(ConfigModel):
    """Bounds on the sum of several domains' ratios."""

    lower: Share = 0.0
    """Smallest sum."""
    upper: Share = 1.0
    """Largest sum; the same as `lower` fixes it."""
    domains: list[str] = []
    """Members; where none are listed, the domains named `GROUP:...`."""


class InequalityConfig(ConfigModel):
    """A weighted sum of ratios with a limit."""

    coefficients: Annotated[dict[str, float], Field(min_length=1)]
    """Weight by domain."""
    limit: float
    """What the sum may be at most."""


class SearchSpaceConfig(ConfigModel):
    """Which mixtures may be proposed."""

    lower: dict[str, Share] = {}
    """Smallest ratio by domain."""
    upper: dict[str, Share] = {}
    """Largest ratio by domain; the repetition caps hold beside it."""
    frozen: dict[str, Share] = {}
    """Ratios that do not move."""
    groups: dict[str, GroupConfig] = {}
    """Bounds on sums of domains, by name."""
    inequalities: list[InequalityConfig] = []
    """Other linear limits."""
    max_kl: Annotated[float, Field(ge=0)] | None = None
    """Largest Kullback-Leibler divergence from the natural mixture, in nats."""

    def space(
        self,
        domains: tuple[str, ...],
        *,
        caps: Mapping[str, float] | None = None,
        prior: Mapping[str, float] | None = None,
    ) -> SearchSpace:
        """The search space over `domains`, with `caps` on ratios beside the upper bounds.

        Raises:
            MixtureError: A limit names an unknown domain, or max_kl has no natural mixture.
            InfeasibleError: The limits cannot all hold.
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
        return SearchSpace(
            domains,
            lower=self.lower,
            upper=upper,
            prior=prior,
            frozen=self.frozen,
            groups=groups,
            inequalities=inequalities,
            max_kl=self.max_kl,
        )


class OutcomeConstraintConfig(ConfigModel):
    """No metric worse than at a mixture by more than a tolerance, with some probability."""

    than: str | dict[str, float] = "natural"
    """`natural`, `uniform`, `best seen`, or ratios by domain."""
    tolerance: float | dict[str, float] = 0.0
    """How much worse a metric may get, in its own units, for all or by metric."""
    probability: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Of keeping to it, for each metric."""
    metrics: list[str] = []
    """The metrics that are guarded; all that are searched by if none is listed."""


class LossToErrorConfig(ConfigModel):
    """Err(L) = epsilon − k·exp(−gamma·L), from a loss to a benchmark's error."""

    epsilon: float
    """Error of a model that knows nothing."""
    k: float
    """Scale."""
    gamma: Annotated[float, Field(gt=0)]
    """Rate per unit of loss."""


class BudgetConfig(ConfigModel):
    """What the target run can draw on."""

    tokens: Annotated[float, Field(gt=0)]
    """Token budget."""
    available_tokens: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Unique tokens by domain; a domain left out does not run out."""
    max_repetition: Annotated[float, Field(gt=0)] | dict[str, Annotated[float, Field(gt=0)]] = 4.0
    """A token is seen at most this often, for all or by domain (left out there: at most once)."""
    repetition_term: bool = True
    """Whether tokens that are read again are predicted to be worth less."""
    saturation: Annotated[float, Field(gt=0)] | dict[str, Annotated[float, Field(gt=0)]] = 15.387756
    """R* of Muennighoff et al., repetitions after which one more is worth 1/e, or by domain."""


LARGEST = 1e300
"""Of numbers that name a level."""


def _spell(level: object) -> object:
    """A level as tables spell it: numbers may be given as such."""
    number = isinstance(level, int | float) and not isinstance(level, bool)
    if number and abs(level) > LARGEST:  # type: ignore[arg-type]
        raise ValueError("a level is a number that nobody can spell")
    return f"{level:.15g}" if number else level


class ProposalConfig(SearchSpaceConfig):
    """What to propose from a table of runs."""

    natural: dict[str, float] | None = None
    """The natural mixture; without it none is assumed, and the best run is compared with first."""
    target: str | dict[str, Annotated[float, Field(ge=0)]] = "utility"
    """`utility`, `average`, `worst`, one metric, or weights by metric."""
    capabilities: dict[str, list[str]] = {}
    """Metrics by capability."""
    capability_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Weight of each capability in `utility`; 1 if left out."""
    surrogates: str | list[str] = "auto"
    """`auto`, or the surrogates to weigh."""
    fidelities: list[Annotated[str, BeforeValidator(_spell)]] | None = None
    """Levels of the runs from the cheapest to the one predicted; by cost if left out."""
    maximise: Annotated[str, Field(pattern="^(utility|chance)$")] = "utility"
    """The expected utility, or the chance of beating `reference`."""
    reference: str | dict[str, float] = "natural"
    """`natural`, `uniform`, `best seen`, or ratios by domain: what is to be beaten."""
    no_worse: OutcomeConstraintConfig | None = None
    """Metrics that must not get worse."""
    budget: BudgetConfig | None = None
    """Token budget of the target run, from which caps follow."""
    error_laws: dict[str, LossToErrorConfig] = {}
    """By metric, what turns its loss into a benchmark's error."""

    @model_validator(mode="after")
    def _names_are_references(self) -> "ProposalConfig":
        for where, given in (
            ("reference", self.reference),
            ("no_worse.than", self.no_worse and self.no_worse.than),
        ):
            if isinstance(given, str) and given not in REFERENCES:
                raise ValueError(f"{where} is {given!r}; give {', '.join(REFERENCES)}, or ratios")
        return self


REFERENCES = ("natural", "uniform", "best seen")
