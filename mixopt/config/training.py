"""The base model, and how experts and proxy runs are trained from it."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from mixopt.config.base import (
    ConfigModel,
    DomainName,
    NaturalRatios,
    OpenSettings,
    Share,
    TokenCount,
)
from mixopt.config.buckets import BucketConfig, TextSplitConfig, bucket_domain
from mixopt.config.text import RecordTextConfig, TextConfig

LearningRateSchedule = Literal["constant", "linear", "cosine", "1-sqrt"]
CheckpointAverage = Literal["mean", "linear", "cosine", "1-sqrt", "ema"]

WITHOUT_EFFECT = ("max_epochs", "device_batch", "gradient_checkpointing")
"""Fields of a training that change its result by rounding at most."""


def _is_set(config: ConfigModel, name: str) -> bool:
    """Return whether a field has another value than its default."""
    return bool(getattr(config, name) != type(config).model_fields[name].default)


class TrainingConfig(ConfigModel):
    """Settings of one training run; rates and batches left out follow the Step Law and are logged."""

    tokens: TokenCount
    """Number of tokens to train on."""
    learning_rate: PositiveFloat | None = None
    """Peak learning rate; the Step Law's if left out."""
    batch_tokens: TokenCount | None = None
    """Tokens per optimizer step, over all devices, of which the closest batch that can be divided over
    devices and forward passes is trained; the Step Law's if left out."""
    warmup_share: Share = 0.05
    """Share of the steps of `tokens` over which the rate warms up; shorter trainings, such as those of
    experts, warm up over as many."""
    schedule: LearningRateSchedule = "constant"
    """Learning rate after the warm-up; merges work best with `constant` (MergeMix)."""
    decay_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Last share of the steps, over which a decaying schedule goes to zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """AdamW's decoupled weight decay."""
    max_grad_norm: PositiveFloat = 1.0
    """Norm that gradients are clipped to."""
    max_epochs: PositiveFloat = 1.0
    """Epochs over a domain's tokens that one run may take; more is an error."""
    device_batch: PositiveInt | None = None
    """Most sequences per device and forward pass, accumulated to the batch; as many as keep the logits
    within 2 GiB if left out."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
    mixed_precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the matrix products in training, whose weights are float32 in any case; `auto` is the type
    of the loaded base. Scores and merges keep the type of the base."""

    @property
    def decays(self) -> bool:
        """Whether the learning rate falls at the end, so that no checkpoint is a finished short run."""
        return self.schedule != "constant"

    @model_validator(mode="after")
    def _a_decay_has_a_schedule(self) -> "TrainingConfig":
        # set to another value than the default: a config that is written has all fields
        if _is_set(self, "decay_share") and not self.decays:
            raise ValueError(
                "decay_share goes with schedule: linear, cosine or 1-sqrt, and schedule is constant; "
                "leave it out, or set a schedule"
            )
        return self

    def artifact_key(self) -> dict[str, Any]:
        """Return what determines the result of a training.

        Fields that change no result stand at their defaults: `max_epochs` refuses a training, and
        `device_batch` and `gradient_checkpointing` save memory, so that what is trained stays valid
        after a training ran out of memory. The batch that is trained is in the plan. The length of
        experts is in the plan of theirs, and no other training has it. `mixed_precision: auto` follows
        the device's type, which is in the key by itself.
        """
        follows = {"mixed_precision"} if self.mixed_precision == "auto" else set()
        plain = self.model_dump(mode="json", exclude={"expert_tokens", *follows})
        return plain | {name: TrainingConfig.model_fields[name].default for name in WITHOUT_EFFECT}


class BuiltBaseConfig(ConfigModel):
    """A small model that is built and trained from this config, with its own tokenizer."""

    kind: Literal["build"]
    architecture: str = "llama"
    """A `model_type` of transformers."""
    config: OpenSettings = {}
    """Fields of the architecture's transformers config."""
    vocabulary: PositiveInt = 2048
    """Size of the byte-level BPE vocabulary, trained on the same text."""
    tokenizer_bytes: PositiveInt = 4_000_000
    """Bytes of text that the tokenizer is trained on."""
    context: PositiveInt = 256
    """Tokens per sequence."""
    ratios: NaturalRatios | None = None
    """Mixture that the base is trained on; the natural one if left out."""
    training: TrainingConfig
    """How the base is trained."""


class PretrainedBaseConfig(ConfigModel):
    """An existing model: a Hugging Face folder, or a hub id."""

    kind: Literal["pretrained"]
    path: Annotated[str, Field(min_length=1)]
    """Folder relative to the YAML, or a hub id."""
    revision: str | None = None
    """Commit, branch or tag on the hub; the default branch if left out."""
    context: PositiveInt = 2048
    """Tokens per sequence, in training and scoring."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type of the loaded weights; `auto` is the checkpoint's."""


BaseConfig = Annotated[BuiltBaseConfig | PretrainedBaseConfig, Field(discriminator="kind")]


class LoraConfig(ConfigModel):
    """Low-rank adaptation (peft)."""

    rank: PositiveInt = 16
    """Rank of the factors."""
    alpha: PositiveFloat = 32
    """The delta is scaled by alpha ÷ rank."""
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    """Names of the adapted modules."""


EXPERT_SHARE = 0.5
"""Default length of an expert, in runs; `studies/arena` compares an eighth with a half."""


class ExpertTrainingConfig(TrainingConfig):
    """Settings of all experts and proxy runs, which start from the same base; `tokens` is a run's."""

    expert_tokens: TokenCount | None = None
    """Tokens of each expert; half of `tokens` if left out. Short experts rank mixtures about as well as
    long ones (`studies/arena`), and leave the budget to runs. Where every expert is given: the tokens
    that those were trained for, which may be more than `tokens`."""
    method: Literal["full", "lora"] = "full"
    """Train all parameters (`full`) or low-rank factors (`lora`)."""
    lora: LoraConfig = LoraConfig()
    """Settings of `method: lora`."""
    average_checkpoints: PositiveInt = 4
    """Number of last checkpoints to average (WSM, MaP); 1 takes the last one."""
    average: CheckpointAverage = "mean"
    """Weights of the average: equal (`mean`), exponential (`ema`), or equivalent to a decay (WSM)."""
    average_floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Final rate ÷ peak rate of the emulated decay."""
    average_share: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Last share of the steps, over which the averaged checkpoints are spread."""
    anchor_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of general data in each expert's tokens (DeMix found 0.5 best)."""
    anchor: NaturalRatios | None = None
    """Mixture of the general data; the natural one if left out."""
    compositions: dict[DomainName, NaturalRatios] | None = None
    """Mixture of each expert by name; one expert per domain if left out."""

    @model_validator(mode="after")
    def _settings_are_used(self) -> "ExpertTrainingConfig":
        if self.anchor is not None and not self.anchor_share:
            raise ValueError(
                "anchor is the mixture of the general data, of which anchor_share is 0; give an "
                "anchor_share (0.5), or leave anchor out"
            )
        if _is_set(self, "average_floor") and self.average in ("mean", "ema"):
            raise ValueError(
                f"average_floor goes with average: linear, cosine or 1-sqrt, and average is "
                f"{self.average}; leave it out, or set one of these"
            )
        if _is_set(self, "lora") and self.method != "lora":
            raise ValueError(
                f"lora goes with method: lora, and method is {self.method}; leave one of them out"
            )
        return self

    @property
    def expert_length(self) -> int:
        """Tokens of each expert, with the default."""
        return self.expert_tokens or max(1, round(EXPERT_SHARE * self.tokens))


class ExpertConfig(ConfigModel):
    """One domain: its name, and its text or an expert trained elsewhere."""

    domain: DomainName
    """Name of the domain, unique within the study."""
    text: TextConfig | None = None
    """Training text; may be left out if `checkpoint` is given."""
    split: TextSplitConfig | None = None
    """Split the text into domains `DOMAIN:q1`, `DOMAIN:q2`, ...; one domain if left out."""
    bucket: BucketConfig | None = None
    """Set by `split` of the expert whose bucket this domain is."""
    checkpoint: str | None = None
    """Folder of an expert trained elsewhere from this base: full weights or LoRA."""
    allow_pickle: bool = False
    """Open the checkpoint's pickled weights, by torch's restricted reader, if it has no safetensors; for
    those that you trust."""
    available_tokens: TokenCount | None = None
    """Unique tokens of this domain for the target run, of all buckets together where it is split; the
    measured number if left out."""
    max_repetition: Annotated[float, Field(ge=0)] | None = None
    """Most epochs of the target run over this domain; `target.max_repetition` if left out."""

    @model_serializer(mode="wrap")
    def _omit_unused_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self)
        for name in ("split", "bucket"):
            if plain.get(name, 0) is None:
                del plain[name]
        return plain

    @model_validator(mode="after")
    def _can_be_split(self) -> "ExpertConfig":
        split = self.split or (self.bucket.split if self.bucket else None)
        if split is None:
            return self
        if self.text is None or self.checkpoint is not None:
            raise ValueError(
                f"expert {self.domain!r}: split makes buckets of a text, each with its own expert; give "
                "it a text and no checkpoint"
            )
        if split.field is not None and not isinstance(self.text, RecordTextConfig):
            raise ValueError(
                f"expert {self.domain!r}: split by field {split.field!r} needs records, and text of "
                f"kind {self.text.kind} has no fields; split by length or perplexity"
            )
        return self

    def split_up(self) -> "list[ExpertConfig]":
        """Return the experts of the buckets, or this one where it is not split."""
        if self.split is None:
            return [self]
        text = self.text
        if isinstance(text, RecordTextConfig):
            text = text.model_copy(update={"value_field": self.split.field})
        plain = self.model_dump(exclude={"split"}) | {"text": text}
        return [
            ExpertConfig.model_validate(plain | {
                "domain": bucket_domain(self.domain, name),
                "bucket": {"group": self.domain, "index": index, "split": self.split},
            })
            for index, name in enumerate(self.split.names)
        ]  # fmt: skip
