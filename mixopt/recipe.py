"""What a YAML may say. Every model is closed and frozen; the docstring under a field is its help."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (  # fmt: skip
    ByteSize,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from mixopt.errors import did_you_mean
from mixopt.limits import Limits
from mixopt.mixture import Mixture
from mixopt.strict import Name, Share, Strict

FEWEST_FIRST = 6
"""Candidates without which no surrogate can be fitted."""

# --- text -------------------------------------------------------------------------------------


class SplitText(Strict):
    """Text whose documents are split into train and held-out parts by their group."""

    part: Literal["all", "train", "heldout"] = "all"
    """`train` and `heldout` are two sides of one split; no group is on both."""
    heldout_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the groups that are held out; the same on both sides of a split."""


class FilesText(SplitText):
    """Local files: JSONL (also .gz and .zst), Parquet, or plain text."""

    kind: Literal["files"] = "files"
    paths: Annotated[list[str], Field(min_length=1)]
    """Files or globs, relative to the YAML."""
    field: str = "text"
    """Field or column that holds the text."""
    group: str | None = None
    """Field that names the unit of the hold-out split; else a text's own content is."""


class HubText(SplitText):
    """A dataset of the `datasets` library: a local folder it can load, or a hub name."""

    kind: Literal["huggingface"]
    path: str
    """Hub name, or a folder relative to the YAML."""
    name: str | None = None
    """Configuration of the dataset."""
    split: str = "train"
    """Split of the dataset."""
    revision: str | None = None
    """Commit, branch or tag on the hub."""
    field: str = "text"
    """Column that holds the text."""
    group: str | None = None
    """Column that names the unit of the hold-out split."""


class MachineText(SplitText):
    """Text that any machine with Python has; see `mixopt.proxies.machine_text`."""

    kind: Literal["machine"]
    name: str
    """One of the machine's texts, `python_source` say."""
    max_bytes: PositiveInt = 2_000_000
    """Text to take at most."""
    seed: int = 0
    """Seed of what is generated (arithmetic)."""


TextSource = Annotated[FilesText | HubText | MachineText, Field(discriminator="kind")]


# --- benchmarks -------------------------------------------------------------------------------


class Benchmark(Strict):
    """What all kinds of benchmark say."""

    name: Name
    """Unique within the study."""
    capability: Name = "all"
    """The group it counts towards; utility is a mean over capabilities."""
    role: Literal["search", "holdout"] = "search"
    """`holdout` scores are reported and never choose a mixture."""
    max_items: PositiveInt | None = None
    """Score the first so many items."""


class BitsPerByte(Benchmark):
    """Bits per byte of held-out text; lower is better."""

    kind: Literal["bits_per_byte"]
    text: TextSource
    """The text to score; an item is one document."""
    item_bytes: PositiveInt | None = None
    """Score so much of each document's beginning: more documents tell more than long ones."""
    own_domain: str | None = None
    """The domain whose held-out text this is, if it is any's."""


class ItemsBenchmark(Benchmark):
    """Items from a JSONL file (also .gz and .zst), a Parquet file, or the machine."""

    items: Annotated[str, Field(min_length=1)]
    """Path relative to the YAML, or `machine:NAME`."""
    own_domain: str | None = None
    """The domain whose held-out text this is made of, if it is any's."""


class Continuation(ItemsBenchmark):
    """Bits per byte of a target text given its prompt; lower is better."""

    kind: Literal["continuation"]
    prompt_field: str = "prompt"
    """Field with the prompt."""
    target_field: str = "target"
    """Field with the target, leading space included."""


class MultipleChoice(ItemsBenchmark):
    """Share of items whose right choice has the highest log-likelihood per byte."""

    kind: Literal["multiple_choice"]
    prompt_field: str = "prompt"
    """Field with the prompt."""
    choices_field: str = "choices"
    """Field with the list of choices."""
    answer_field: str = "answer"
    """Field with the index of the right choice."""
    separator: str = " "
    """Stands between a prompt and a choice; nothing does where the prompt is empty."""


BenchmarkRecipe = Annotated[
    BitsPerByte | Continuation | MultipleChoice, Field(discriminator="kind")
]


# --- base, experts, search --------------------------------------------------------------------


Schedule = Literal["constant", "linear", "cosine", "1-sqrt"]
CheckpointAverage = Literal["mean", "linear", "cosine", "1-sqrt", "ema"]


class Optimisation(Strict):
    """How anything is trained; fields left out follow the Step Law and are printed."""

    tokens: PositiveInt
    """Tokens to train on."""
    learning_rate: PositiveFloat | None = None
    """Peak (and, after warm-up, constant) rate; the Step Law's if left out."""
    batch_tokens: PositiveInt | None = None
    """Tokens per optimiser step, over all devices; the Step Law's if left out."""
    warmup_share: Share = 0.05
    """Share of the steps over which the rate rises."""
    schedule: Schedule = "constant"
    """What the rate does after its warm-up; constant is what merging wants (MergeMix)."""
    decay_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Last share of the steps over which a schedule that decays goes to zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """AdamW's decoupled weight decay."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are clipped to this norm."""
    max_epochs: PositiveFloat = 1.0
    """How often a domain's tokens may be read in one training run before it is an error."""
    device_batch: PositiveInt | None = None
    """Sequences per device and forward pass; the rest is accumulated. All if left out."""
    gradient_checkpointing: bool = False
    """Trade compute for memory on large models."""


class BuiltBase(Strict):
    """A small model built and trained from the recipe, with a tokenizer of its own."""

    kind: Literal["build"]
    architecture: str = "llama"
    """Any `model_type` that transformers knows."""
    config: dict[str, Any] = {}
    """Fields of that architecture's configuration."""
    vocabulary: PositiveInt = 2048
    """Size of the byte-level BPE vocabulary, trained on the same text."""
    tokenizer_bytes: PositiveInt = 4_000_000
    """Text the tokenizer is trained on."""
    context: PositiveInt = 256
    """Tokens per sequence."""
    ratios: dict[str, float] | None = None
    """Prior mixture of its training; the natural one if left out."""
    training: Optimisation
    """How the base is trained."""


class PretrainedBase(Strict):
    """A model that exists: a local Hugging Face folder, or a hub id."""

    kind: Literal["pretrained"]
    path: Annotated[str, Field(min_length=1)]
    """Folder relative to the YAML, or a hub id."""
    revision: str | None = None
    """Commit, branch or tag on the hub."""
    context: PositiveInt = 2048
    """Tokens per sequence, in training and scoring."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type the weights are loaded in; `auto` is the checkpoint's own."""


BaseRecipe = Annotated[BuiltBase | PretrainedBase, Field(discriminator="kind")]


class Lora(Strict):
    """Low-rank adaptation (peft)."""

    rank: PositiveInt = 16
    """Rank of each factor pair."""
    alpha: PositiveFloat = 32
    """Scale is alpha ÷ rank."""
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    """Modules that are adapted."""


class ExpertTraining(Optimisation):
    """How experts and proxy runs are trained: all alike, from the same base."""

    method: Literal["full", "lora"] = "full"
    """Fine-tune every parameter, or low-rank factors."""
    lora: Lora = Lora()
    """Used by `method: lora`."""
    average_checkpoints: PositiveInt = 4
    """Average of so many of the last checkpoints (WSM, MaP); 1 keeps the last alone."""
    average: CheckpointAverage = "mean"
    """Their weights: all alike, or what a decay of that shape would have reached (WSM)."""
    average_floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Lowest rate ÷ peak rate at the end of that decay."""
    average_share: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Last share of the steps over which those checkpoints are spread."""
    anchor_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each expert's tokens that is general data (DeMix found 0.5 best)."""
    anchor: dict[str, float] | None = None
    """Mixture of that general data; the natural one if left out."""
    compositions: dict[Name, dict[str, float]] | None = None
    """Experts by name with their own rows of ratios, instead of one expert per domain."""


class ExpertRecipe(Strict):
    """One domain: a name, and the text that one expert is trained on or the expert itself."""

    domain: Name
    """Name of the domain, unique within the study."""
    text: TextSource | None = None
    """Training text; it may be left out where `checkpoint` is given."""
    checkpoint: str | None = None
    """Folder of an expert that was trained elsewhere from this base: full weights or LoRA."""
    allow_pickle: bool = False
    """Open the checkpoint's pickled weights, which may run code, where there are no safetensors."""
    available_tokens: PositiveInt | None = None
    """Tokens of this domain that the target run could draw on; those measured if left out."""
    max_repetition: PositiveFloat | None = None
    """Overrides the target's highest repetition for this domain."""


class SearchRecipe(Limits):
    """How mixtures are chosen and scored, and which may be proposed."""

    rounds: Annotated[list[PositiveInt], Field(min_length=1)] = [16, 8, 8]
    """Candidates scored in each round; the first needs 6 to be fitted."""
    proxy: Literal["merged", "ensembled"] = "merged"
    """Which proxy the surrogate learns from; both are scored and logged."""
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
    natural: dict[str, float] | None = None
    """The natural mixture; proportional to the available tokens if left out."""
    capability_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Weight of each capability in the utility; 1 if left out."""
    proposals: PositiveInt = 1
    """How many distinct mixtures to propose."""


class TargetRecipe(Strict):
    """The run that the mixture is for."""

    tokens: PositiveInt
    """Token budget."""
    max_repetition: PositiveFloat = 4.0
    """A token is seen at most this often (1.0: at most once)."""


class ValidationRecipe(Strict):
    """Real proxy runs that test the proxies."""

    mixtures: Annotated[int, Field(ge=4)] = 6
    """Mixtures to train; natural, uniform and the proposal are always among them."""
    seeds: Annotated[int, Field(ge=1)] = 2
    """Runs of each mixture; two or more tell the ceiling."""


class ExportRecipe(Strict):
    """One training config to write."""

    format: str
    """A format that mixopt knows, or `package.module:function`."""
    out: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    """File name inside the study's `exports` folder."""
    paths: dict[str, str] | str | None = None
    """Where the trainer finds each domain: by domain, or one pattern with `{domain}`."""
    options: dict[str, Any] = {}
    """What only this format takes: `valid` and `test` of megatron-per-split, say."""


class StudyRecipe(Strict):
    """A whole study, resolved: what `load_study` returns and what is logged."""

    name: Name
    """Name of the study, and of its MLflow experiment."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Everything random in the study follows from it."""
    base: BaseRecipe
    """The model that every expert starts from."""
    experts: Annotated[list[ExpertRecipe], Field(min_length=2)]
    """The domains."""
    training: ExpertTraining
    """How experts and proxy runs are trained."""
    benchmarks: Annotated[list[BenchmarkRecipe], Field(min_length=1)]
    """What models are scored on."""
    search: SearchRecipe = SearchRecipe()
    """How mixtures are chosen."""
    target: TargetRecipe
    """The run that the mixture is for."""
    validation: ValidationRecipe | None = None
    """Whether `run` trains real proxy runs too."""
    exports: list[ExportRecipe] = []
    """Training configs to write."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The `d` domains, in the order of the experts."""
        return tuple(expert.domain for expert in self.experts)

    @field_validator("search")
    @classmethod
    def _first_round_can_be_fitted(cls, search: SearchRecipe) -> SearchRecipe:
        if search.rounds[0] < FEWEST_FIRST:
            raise ValueError(
                f"rounds: the first has {search.rounds[0]} candidates and needs {FEWEST_FIRST}"
            )
        return search

    @field_validator("search")
    @classmethod
    def _slopes_are_those_of_merges(cls, search: SearchRecipe) -> SearchRecipe:
        for name, wanted in (
            ("method: gradient", search.method == "gradient"),
            ("slopes", search.slopes),
            ("ensembles", bool(search.ensembles)),
        ):
            if wanted and search.proxy != "merged":
                raise ValueError(f"{name} goes with proxy: merged; leave one of them out")
        return search

    @field_validator("exports")
    @classmethod
    def _files_once(cls, exports: list[ExportRecipe]) -> list[ExportRecipe]:
        _require_unique([wanted.out for wanted in exports], "export file")
        return exports

    @field_validator("experts")
    @classmethod
    def _domains_once(cls, experts: list[ExpertRecipe]) -> list[ExpertRecipe]:
        names = [expert.domain for expert in experts]
        _require_unique(names, "domain")
        return experts

    @field_validator("benchmarks")
    @classmethod
    def _benchmarks_once(cls, benchmarks: list[BenchmarkRecipe]) -> list[BenchmarkRecipe]:
        _require_unique([benchmark.name for benchmark in benchmarks], "benchmark")
        if not any(benchmark.role == "search" for benchmark in benchmarks):
            raise ValueError("every benchmark has role holdout; at least one must have role search")
        return benchmarks

    @model_validator(mode="after")
    def _no_benchmark_is_trained_on(self) -> "StudyRecipe":
        for benchmark in self.benchmarks:
            if not isinstance(benchmark, BitsPerByte):
                continue
            for expert in self.experts:
                if expert.text is None:
                    continue
                if _text_identity(benchmark.text) != _text_identity(expert.text):
                    continue
                sides = expert.text.part, benchmark.text.part
                same = _split_of(expert.text) == _split_of(benchmark.text)
                if sides != ("train", "heldout") or not same:
                    raise ValueError(
                        f"benchmark {benchmark.name!r} reads the text that expert {expert.domain!r} is "
                        "trained on; give the expert part: train and the benchmark part: heldout, "
                        "with the same heldout_share and group"
                    )
        return self

    @model_validator(mode="after")
    def _every_expert_comes_from_somewhere(self) -> "StudyRecipe":
        for expert in self.experts:
            if expert.text is None and expert.checkpoint is None:
                raise ValueError(
                    f"expert {expert.domain!r} has neither text nor checkpoint; add one"
                )
        given = [expert.domain for expert in self.experts if expert.checkpoint is not None]
        if given and isinstance(self.base, BuiltBase):
            raise ValueError(
                f"expert {given[0]!r} has a checkpoint, and the base is built here; give the base that "
                "it was trained from (kind: pretrained)"
            )
        if given and self.training.compositions is not None:
            raise ValueError(
                f"expert {given[0]!r} has a checkpoint, and training.compositions names experts of "
                "its own; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> "StudyRecipe":
        known = self.domains
        named: list[tuple[str, Mapping[str, float]]] = [
            ("search.lower", self.search.lower),
            ("search.upper", self.search.upper),
            ("search.frozen", self.search.frozen),
            ("search.natural", self.search.natural or {}),
            ("training.anchor", self.training.anchor or {}),
        ]
        if isinstance(self.base, BuiltBase):
            named.append(("base.ratios", self.base.ratios or {}))
        for expert, composition in (self.training.compositions or {}).items():
            named.append((f"training.compositions.{expert}", composition))
        for benchmark in self.benchmarks:
            if benchmark.own_domain:
                named.append((f"benchmark {benchmark.name}", {benchmark.own_domain: 1}))
        for where, names in named:
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"{where}: unknown domain {name!r}. {did_you_mean(name, known)}"
                    )
        capabilities = {benchmark.capability for benchmark in self.benchmarks}
        for name in self.search.capability_weights:
            if name not in capabilities:
                raise ValueError(
                    f"search.capability_weights: unknown capability {name!r}. "
                    f"{did_you_mean(name, capabilities)}"
                )
        try:
            # how far from the natural mixture is told when that has been measured
            self.search.model_copy(update={"max_kl": None}).space(tuple(known))
        except ValueError as error:
            raise ValueError(f"search: {error}") from None
        weights = self.search.capability_weights
        if weights and not any(weights.get(name, 1.0) for name in capabilities):
            raise ValueError("search.capability_weights: every capability has weight 0; raise one")
        for where, ratios in named:
            if where.startswith(("search.natural", "training.", "base.")) and ratios:
                try:
                    Mixture(ratios)
                except ValueError as error:
                    raise ValueError(f"{where}: {error}") from None
        return self


def _text_identity(text: TextSource) -> tuple[object, ...]:
    """What two sources share if they read the same documents."""
    if isinstance(text, FilesText):
        return ("files", *sorted(text.paths))
    if isinstance(text, HubText):
        return ("huggingface", text.path, text.name, text.split, text.revision)
    return ("machine", text.name, text.seed)


def _split_of(text: TextSource) -> tuple[object, ...]:
    """What decides which side of the split a document is on."""
    return text.heldout_share, getattr(text, "group", None)


def _require_unique(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is named twice; give each {what} a name of its own")
