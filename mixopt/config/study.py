"""The config of a whole study, and its sections target, validation, budget, phases and exports."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    PositiveFloat,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mixopt.config.base import ConfigModel, Name, OpenSettings, TokenCount
from mixopt.config.benchmarks import BenchmarkConfig
from mixopt.config.cross_checks import MAX_FILE_NAME, check_study
from mixopt.config.executors import ExecutorConfig, LocalExecutorConfig
from mixopt.config.search import (
    MOST_RUNS,
    PROXIES,
    PUBLISHED,
    READS_BENCHMARKS,
    STARTS_ELSEWHERE,
    TRAINS_NOTHING,
    PublishedMethod,
    SearchConfig,
    SearchMethod,
)
from mixopt.config.text import RecordTextConfig, TokensTextConfig
from mixopt.config.training import (
    BaseConfig,
    BuiltBaseConfig,
    ExpertConfig,
    ExpertTrainingConfig,
    PretrainedBaseConfig,
)
from mixopt.token_budget import Budget
from mixopt.trial import Kind

EXPERTS_FOLLOW = {"experts": "follow"}
"""Context of a validation before experts that were trained elsewhere are added."""
RESERVED_EXPORT_OPTIONS = ("plan", "format", "paths", "out", "budget_tokens", "tokens_per_document")
"""Arguments of an export that are not options of a format."""
ROUNDING = 1e-9
"""Relative tolerance for a bound that was divided and multiplied again."""
TEXT_FACTOR, LEAST_TEXT, USUAL_LONGEST = 2.0, 1 << 22, 4.0
"""Tokens of a domain's text that a study reads: in units of its longest training, and at least. The
longest run of a study without a budget counts as four, so that adding a budget changes no text."""


class TargetConfig(ConfigModel):
    """The training run that the mixture is for."""

    tokens: TokenCount
    """Tokens of the target run."""
    max_repetition: PositiveFloat = 4.0
    """Largest number of epochs over a domain."""


class ValidationConfig(ConfigModel):
    """Proxy runs, really trained, that test the merges."""

    mixtures: Annotated[int, Field(ge=4, le=10_000)] = 6
    """Number of mixtures to train; natural, uniform and the proposal are among them."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 2
    """Runs of each mixture; two or more measure the noise ceiling."""
    result: list[str] | None = None
    """Benchmarks to report as the result; all with role holdout if left out."""


class BudgetConfig(ConfigModel):
    """Training that may be spent on the answer: experts, natural and candidate runs, confirmation."""

    tokens: TokenCount | None = None
    """Tokens of training in all: experts included; the base and the runs of `validation` are not."""
    runs: PositiveFloat | None = None
    """The same in runs of `training.tokens`; give one of both."""
    longest: Annotated[float, Field(ge=1)] = 4.0
    """Length of the longest run, in runs of `training.tokens`; never beyond the target's tokens."""
    confirmation: Annotated[int, Field(ge=0, le=1000)] = 3
    """Unused seeds of candidate and natural that are trained at the end, for the longest run's tokens.
    They take at most half of what the budget has beside the experts: where they would take more, they
    have `training.tokens` each, and are left out where that is too much as well."""
    batch: Annotated[int, Field(gt=0, le=10_000)] = 1
    """Runs chosen at a time. As many as there are workers keep all of them busy; one chooses best."""

    @model_validator(mode="after")
    def _one_amount(self) -> "BudgetConfig":
        if (self.tokens is None) == (self.runs is None):
            raise ValueError("give `tokens` or `runs`, one of both")
        return self


class PhaseConfig(ConfigModel):
    """A part of the target run with its own mixture, such as stable, mid-training or anneal."""

    name: Name
    """Unique name of the phase."""
    tokens: TokenCount
    """Tokens of the phase."""
    base: PretrainedBaseConfig | None = None
    """Checkpoint near the start of the phase. If left out, the first phase starts from the study's base,
    and a later one from the previous base trained for `base_tokens` on the previous proposal."""
    base_tokens: TokenCount | None = None
    """Tokens of that training; `training.tokens` if left out."""
    search: SearchConfig | None = None
    """Search settings; the study's if left out."""


class TrackingConfig(ConfigModel):
    """What is logged to MLflow beside the study itself."""

    system_metrics: bool = False
    """Log the load of this machine (CPU, memory, disk, network, NVIDIA GPUs) every ten seconds."""


class ExportConfig(ConfigModel):
    """One training config to write."""

    format: str
    """Format of `mixopt export`, or `package.module:function`."""
    out: Annotated[
        str,
        Field(
            pattern=r"^([A-Za-z0-9_]|\{phase\})([A-Za-z0-9_.-]|\{phase\})*$",
            max_length=MAX_FILE_NAME,
        ),
    ]
    """File name inside the study's `exports` folder; with `{phase}` in it, a file for each phase."""
    paths: dict[str, str | list[str]] | str | None = None
    """Paths for the trainer, by domain (a list for several), or one pattern with `{domain}`."""
    tokens_per_document: dict[str, PositiveFloat] = {}
    """Mean document length by domain, for trainers that draw documents; measured if left out."""
    options: OpenSettings = {}
    """Options of the format, such as `valid` and `test` of megatron-per-split."""

    @field_validator("options")
    @classmethod
    def _are_options_of_a_format(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name in RESERVED_EXPORT_OPTIONS:
            if name in options:
                raise ValueError(f"{name!r} is no option of a format; give it beside `options`")
        return options


def _split_up(experts: list[ExpertConfig]) -> list[ExpertConfig]:
    return [bucket for expert in experts for bucket in expert.split_up()]


class StudyConfig(ConfigModel):
    """A whole study with its experts and benchmarks, as `load_study` returns it."""

    name: Name
    """Name of the study, and of its MLflow experiment."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of everything random in the study."""
    base: BaseConfig
    """Base model that every expert starts from."""
    experts: Annotated[list[ExpertConfig], AfterValidator(_split_up), Field(min_length=2)]
    """Domains, with one expert each; one that is split becomes several."""
    training: ExpertTrainingConfig
    """Training of experts and proxy runs."""
    benchmarks: Annotated[list[BenchmarkConfig], Field(min_length=1)]
    """Benchmarks that models are scored on."""
    search: SearchConfig = SearchConfig()
    """Search settings."""
    target: TargetConfig
    """The training run that the mixture is for."""
    validation: ValidationConfig | None = None
    """Validation by proxy runs; none if left out."""
    budget: BudgetConfig | None = None
    """Training to spend on the answer, where it helps most; none if left out."""
    phases: list[PhaseConfig] = []
    """Phases of the target run, each with its own search; one mixture for all of it if left out."""
    exports: list[ExportConfig] = []
    """Trainer configs to write."""
    executor: ExecutorConfig = LocalExecutorConfig()
    """Where jobs run: `local`, `processes`, `ray` or `slurm`, or one of these with settings."""
    tracking: TrackingConfig = TrackingConfig()
    """What is logged to MLflow beside the study itself."""

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the `d` domains, in the order of the experts."""
        return tuple(expert.domain for expert in self.experts)

    @property
    def gives_all_experts(self) -> bool:
        """Whether every expert was trained elsewhere."""
        given = all(expert.checkpoint is not None for expert in self.experts)
        return given and self.training.compositions is None

    @property
    def search_method(self) -> SearchMethod:
        """What candidates are scored by, with `auto` resolved."""
        return self.search.choose_method(self.benchmarks)

    @property
    def published_method(self) -> PublishedMethod | None:
        """The method of others that recommends the candidate; None where mixopt searches."""
        return next((name for name in PUBLISHED if name == self.search.method), None)

    @property
    def method_trains(self) -> bool:
        """Whether a method of others trains models beside the experts."""
        return self.published_method not in (None, *TRAINS_NOTHING)

    @property
    def method_tokens(self) -> int:
        """Tokens of text that a method of others may read beside the experts; 0 without one."""
        return round(self.method_runs * self.training.tokens)

    @property
    def method_limit(self) -> int:
        """Tokens that a method of others may cost beside the experts, text of benchmarks included."""
        if self.published_method in READS_BENCHMARKS:
            return round(self.search.method_runs * self.training.tokens)
        return self.method_tokens

    @property
    def method_runs(self) -> float:
        """Runs that `method_tokens` are: those of `search`, or the most that the method can use."""
        method, wanted = self.published_method, self.search.method_runs
        if method is None or not self.method_trains:
            return 0.0
        return min(wanted, MOST_RUNS.get(method, wanted))

    @property
    def method_trains_natural(self) -> bool:
        """Whether a method of others trains natural, which is then the first run of a budget too."""
        return self.method_trains and self.published_method not in STARTS_ELSEWHERE

    @property
    def compares_text(self) -> bool:
        """Whether samples of the domains' text are compared with that of the benchmarks."""
        return self.search.text_prior or self.published_method == "projektor"

    @property
    def proxy(self) -> Kind:
        """The kind of the trials that the surrogate is fitted to."""
        return PROXIES[self.search_method]

    @property
    def response(self) -> float:
        """γ of the response map."""
        return self.search.choose_response(self.search_method)

    @property
    def budget_tokens(self) -> int:
        """Tokens of training that `budget` allows; 0 without one."""
        if self.budget is None:
            return 0
        return self.budget.tokens or round((self.budget.runs or 0.0) * self.training.tokens)

    @property
    def run_lengths(self) -> tuple[int, ...]:
        """Tokens of the runs that a budget buys, increasing: `training.tokens`, and the longest."""
        short = self.training.tokens
        ratio = self.budget.longest if self.budget else 1.0
        longest = min(round(ratio * short), max(short, self.target.tokens))
        return tuple(sorted({short, longest}))

    @property
    def text_tokens(self) -> int:
        """Tokens of each domain's text that the study can use; of a larger text a sample is read.

        Twice the longest training, which may be of one domain, rounded up to a power of two: a change of
        the study's lengths that is small does not change the text.
        """
        ratio = max(USUAL_LONGEST, self.budget.longest if self.budget else 0.0)
        short = self.training.tokens
        lengths = [min(ratio * short, max(short, self.target.tokens))]
        if not self.gives_all_experts:
            lengths.append(self.training.expert_length)
        if isinstance(self.base, BuiltBaseConfig):
            lengths.append(self.base.training.tokens)
        lengths += [phase.base_tokens or 0 for phase in self.phases]
        return max(LEAST_TEXT, 1 << math.ceil(math.log2(TEXT_FACTOR * max(lengths))))

    def text_tokens_of(self, expert: ExpertConfig) -> int:
        """Return the tokens of a domain's text that the study can use: of a split text, of all buckets.

        Args:
            expert: Of the domain.
        """
        parts = len(expert.bucket.split.names) if expert.bucket else 1
        return parts * self.text_tokens

    def target_budget(self, available_tokens: Mapping[str, int]) -> Budget:
        """Return the budget of the target run.

        Args:
            available_tokens: Unique tokens by domain.
        """
        return Budget(self.target.tokens, available_tokens, self.max_repetition)

    @property
    def max_repetition(self) -> dict[str, float]:
        """Largest number of epochs by domain."""
        return dict.fromkeys(self.domains, self.target.max_repetition) | self.own_repetition

    @property
    def own_repetition(self) -> dict[str, float]:
        """Largest number of epochs of the domains that state their own."""
        return {e.domain: e.max_repetition for e in self.experts if e.max_repetition is not None}

    def for_phase(
        self,
        phase: PhaseConfig,
        base: BaseConfig,
        seen: Mapping[str, float],
        least: Mapping[str, float] | None = None,
    ) -> "StudyConfig":
        """Return the config of the study of one phase.

        Args:
            phase: One of `phases`.
            base: Base model of the phase's experts.
            seen: Epochs by domain of the other phases: proposed by earlier ones, required at least by
                later ones. They are subtracted from the allowed epochs.
            least: Epochs by domain that the phase's own bounds require; rounding must not forbid them.
        """
        experts = []
        for expert in self.experts:
            left = self.max_repetition[expert.domain] - seen.get(expert.domain, 0.0)
            need = (least or {}).get(expert.domain, 0.0) * (1 + ROUNDING)
            changes: dict[str, Any] = {"max_repetition": max(0.0, left, need)}
            text = expert.text
            if isinstance(text, RecordTextConfig | TokensTextConfig) and text.tokens is None:
                # phases read the same text, whatever the length of each
                changes["text"] = text.model_copy(update={"tokens": self.text_tokens_of(expert)})
            experts.append(expert.model_copy(update=changes))
        target = self.target.model_copy(update={"tokens": phase.tokens})
        return self.model_copy(update={
            "name": f"{self.name}-{phase.name}", "base": base, "experts": experts,
            "search": phase.search or self.search, "target": target, "phases": [], "exports": [],
        })  # fmt: skip

    @model_validator(mode="after")
    def _parts_go_together(self, info: ValidationInfo) -> "StudyConfig":
        check_study(self, experts_follow=info.context == EXPERTS_FOLLOW)
        return self
