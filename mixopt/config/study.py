"""What a YAML may say. Every model is closed and frozen; the docstring under a field is its help."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ByteSize, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from mixopt.config.base import ConfigModel, Name
from mixopt.config.benchmarks import BenchmarkConfig
from mixopt.config.constraints import SearchSpaceConfig
from mixopt.config.cross_checks import check_study, require_unique
from mixopt.config.executors import ExecutorConfig, LocalExecutorConfig
from mixopt.config.training import (
    BaseConfig,
    ExpertConfig,
    ExpertTrainingConfig,
    PretrainedBaseConfig,
)
from mixopt.mixture import Budget
from mixopt.trials import Normalisation

RESPONSE = 0.7
"""γ of the default: on average ahead of λ itself in `studies/rank-fidelity`, where trained scores
follow those of merges about one for one."""
RESERVED_EXPORT_OPTIONS = ("plan", "format", "paths", "out", "budget_tokens", "tokens_per_document")
"""What an export is told beside a format's own options."""
ROUNDING = 1e-9
"""Room for a bound that was divided and multiplied back."""
FEWEST_FIRST = 6
"""Candidates without which no surrogate can be fitted."""


class SearchConfig(SearchSpaceConfig):
    """How mixtures are chosen and scored, and which may be proposed."""

    rounds: Annotated[list[PositiveInt], Field(min_length=1)] = [16, 8, 8]
    """Candidates scored in each round; the first needs 6 to be fitted."""
    proxy: Literal["merged", "ensembled"] = "merged"
    """Which proxy the surrogate learns from; both are scored and logged."""
    response: Annotated[float, Field(gt=0, le=1)] | None = None
    """γ of the response map: experts are weighed by λ^γ for a mixture λ. 0.7 if left out, and 1 (which
    is MergeMix as published) where slopes or gradients are asked for."""
    method: Literal["sampling", "gradient"] = "sampling"
    """How rounds after the first choose: by the surrogate, or by climbing the merges' own losses."""
    slopes: bool = False
    """Measure how losses change around every candidate: two to four more passes that tell the surrogate
    as much as a candidate for each expert."""
    ensembles: Annotated[int, Field(ge=0)] = 0
    """Probability ensembles scored beside the merges, a cheaper fidelity that costs arithmetic."""
    scoring: Literal["auto", "resident", "streamed"] = "auto"
    """Merge in memory, or walk the network layer by layer; `auto` streams where base and experts
    do not fit."""
    memory: Annotated[ByteSize, Field(gt=0)] | None = None
    """What streamed scoring may use (`4GiB`); most of what is free if left out."""
    item_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of each benchmark's items that candidates after the first round are scored on; what the
    others would say is told by control variates."""
    natural: dict[str, float] | None = None
    """The natural mixture; proportional to the available tokens if left out."""
    normalise: Normalisation = "z"
    """How benchmarks become comparable: z-scores over the trials, percentile ranks, or raw."""
    aggregate: Literal["mean", "worst"] = "mean"
    """What is maximised: the (weighted) mean of the capabilities, or the worst one."""
    capability_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Weight of each capability in the mean; 1 if left out."""
    proposals: PositiveInt = 1
    """How many distinct mixtures to propose."""

    @model_validator(mode="after")
    def _first_round_can_be_fitted(self) -> "SearchConfig":
        if self.rounds[0] < FEWEST_FIRST:
            raise ValueError(
                f"rounds: the first has {self.rounds[0]} candidates and needs {FEWEST_FIRST}"
            )
        return self

    @model_validator(mode="after")
    def _slopes_are_those_of_merges(self) -> "SearchConfig":
        for name, wanted in (
            ("method: gradient", self.method == "gradient"),
            ("slopes", self.slopes),
            ("ensembles", bool(self.ensembles)),
            ("item_share", self.item_share < 1),
        ):
            if wanted and self.proxy != "merged":
                raise ValueError(f"{name} goes with proxy: merged; leave one of them out")
        if self.response not in (None, 1) and (self.slopes or self.method == "gradient"):
            raise ValueError("response: slopes are of merges at the very weights; set it to 1")
        if self.item_share < 1 and (self.slopes or self.method == "gradient"):
            raise ValueError("item_share: slopes are of all items; leave one of them out")
        return self

    @property
    def gamma(self) -> float:
        """γ of the response map."""
        if self.response is not None:
            return self.response
        return 1.0 if self.slopes or self.method == "gradient" else RESPONSE


class TargetConfig(ConfigModel):
    """The run that the mixture is for."""

    tokens: PositiveInt
    """Token budget."""
    max_repetition: PositiveFloat = 4.0
    """A token is seen at most this often (1.0: at most once)."""


class ValidationConfig(ConfigModel):
    """Real proxy runs that test the proxies."""

    mixtures: Annotated[int, Field(ge=4)] = 6
    """Mixtures to train; natural, uniform and the proposal are always among them."""
    seeds: Annotated[int, Field(ge=1)] = 2
    """Runs of each mixture; two or more tell the ceiling."""
    result: list[str] | None = None
    """Benchmarks to report as the result; all with role holdout if left out."""


class PhaseConfig(ConfigModel):
    """A part of the target run with a mixture of its own: stable, mid-training, anneal."""

    name: Name
    """Name."""
    tokens: PositiveInt
    """Tokens that it reads."""
    base: PretrainedBaseConfig | None = None
    """Where it starts: a checkpoint near its beginning. Left out, the base of the phase before is
    trained on for `base_tokens` on that phase's proposal; the first starts from the study's base."""
    base_tokens: PositiveInt | None = None
    """As many as an expert's if left out."""
    search: SearchConfig | None = None
    """How its mixture is chosen; as in the study if left out."""


class ExportConfig(ConfigModel):
    """One training config to write."""

    format: str
    """A format that mixopt knows, or `package.module:function`."""
    out: Annotated[str, Field(pattern=r"^([A-Za-z0-9_]|\{phase\})([A-Za-z0-9_.-]|\{phase\})*$")]
    """File name inside the study's `exports` folder; with `{phase}` in it, a file for each phase."""
    paths: dict[str, str] | str | None = None
    """Where the trainer finds each domain: by domain, or one pattern with `{domain}`."""
    tokens_per_document: dict[str, PositiveFloat] = {}
    """By domain, where a trainer draws documents and they are not measured here."""
    options: dict[str, Any] = {}
    """What only this format takes: `valid` and `test` of megatron-per-split, say."""

    @field_validator("options")
    @classmethod
    def _are_options_of_a_format(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name in RESERVED_EXPORT_OPTIONS:
            if name in options:
                raise ValueError(f"{name!r} is no option of a format; give it beside `options`")
        return options


class StudyConfig(ConfigModel):
    """A whole study, resolved: what `load_study` returns and what is logged."""

    name: Name
    """Name of the study, and of its MLflow experiment."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Everything random in the study follows from it."""
    base: BaseConfig
    """The model that every expert starts from."""
    experts: Annotated[list[ExpertConfig], Field(min_length=2)]
    """The domains."""
    training: ExpertTrainingConfig
    """How experts and proxy runs are trained."""
    benchmarks: Annotated[list[BenchmarkConfig], Field(min_length=1)]
    """What models are scored on."""
    search: SearchConfig = SearchConfig()
    """How mixtures are chosen."""
    target: TargetConfig
    """The run that the mixture is for."""
    validation: ValidationConfig | None = None
    """Whether `run` trains real proxy runs too."""
    phases: list[PhaseConfig] = []
    """The target run in phases, each with a search of its own; one mixture for all of it if left out."""
    exports: list[ExportConfig] = []
    """Training configs to write."""
    executor: ExecutorConfig = LocalExecutorConfig()
    """Where the work is done: `local`, `processes`, `ray` or `slurm`, or one of these with settings."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The `d` domains, in the order of the experts."""
        return tuple(expert.domain for expert in self.experts)

    def budget(self, available_tokens: Mapping[str, int]) -> Budget:
        """What the target run reads, given what there is to read."""
        return Budget(self.target.tokens, available_tokens, self.most_repetition)

    @property
    def most_repetition(self) -> dict[str, float]:
        """How often a token of each domain may be seen."""
        most = self.target.max_repetition
        return {
            e.domain: most if e.max_repetition is None else e.max_repetition for e in self.experts
        }

    def for_phase(
        self,
        phase: PhaseConfig,
        base: BaseConfig,
        seen: Mapping[str, float],
        least: Mapping[str, float] | None = None,
    ) -> "StudyConfig":
        """The study of one phase.

        Args:
            phase: One of `phases`.
            base: What its experts start from.
            seen: How often the other phases read each domain, earlier ones by what was proposed and
                later ones at least: that much less is left to it.
            least: How often its own bounds make it read each domain, which rounding must not forbid.
        """
        experts = []
        for expert in self.experts:
            left = self.most_repetition[expert.domain] - seen.get(expert.domain, 0.0)
            need = (least or {}).get(expert.domain, 0.0) * (1 + ROUNDING)
            experts.append(expert.model_copy(update={"max_repetition": max(0.0, left, need)}))
        return self.model_copy(update={
            "name": f"{self.name}-{phase.name}",
            "base": base,
            "experts": experts,
            "search": phase.search or self.search,
            "target": self.target.model_copy(update={"tokens": phase.tokens}),
            "phases": [],
            "exports": [],
        })  # fmt: skip

    @field_validator("exports")
    @classmethod
    def _files_once(cls, exports: list[ExportConfig]) -> list[ExportConfig]:
        require_unique([wanted.out for wanted in exports], "export file")
        return exports

    @field_validator("experts")
    @classmethod
    def _domains_once(cls, experts: list[ExpertConfig]) -> list[ExpertConfig]:
        names = [expert.domain for expert in experts]
        require_unique(names, "domain")
        return experts

    @field_validator("benchmarks")
    @classmethod
    def _benchmarks_once(cls, benchmarks: list[BenchmarkConfig]) -> list[BenchmarkConfig]:
        require_unique([benchmark.name for benchmark in benchmarks], "benchmark")
        if not any(benchmark.role == "search" for benchmark in benchmarks):
            raise ValueError("every benchmark has role holdout; at least one must have role search")
        return benchmarks

    @model_validator(mode="after")
    def _parts_go_together(self) -> "StudyConfig":
        check_study(self)
        return self
