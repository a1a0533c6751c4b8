"""The base, and how experts and proxy runs are trained from it."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from mixopt.config.base import ConfigModel, Name, Share
from mixopt.config.text import TextConfig

LearningRateSchedule = Literal["constant", "linear", "cosine", "1-sqrt"]
CheckpointAverage = Literal["mean", "linear", "cosine", "1-sqrt", "ema"]


class TrainingConfig(ConfigModel):
    """How anything is trained; fields left out follow the Step Law and are printed."""

    tokens: PositiveInt
    """Tokens to train on."""
    learning_rate: PositiveFloat | None = None
    """Peak (and, after warm-up, constant) rate; the Step Law's if left out."""
    batch_tokens: PositiveInt | None = None
    """Tokens per optimiser step, over all devices; the Step Law's if left out."""
    warmup_share: Share = 0.05
    """Share of the steps over which the rate rises."""
    schedule: LearningRateSchedule = "constant"
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


class BuiltBaseConfig(ConfigModel):
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
    training: TrainingConfig
    """How the base is trained."""


class PretrainedBaseConfig(ConfigModel):
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


BaseConfig = Annotated[BuiltBaseConfig | PretrainedBaseConfig, Field(discriminator="kind")]


class LoraConfig(ConfigModel):
    """Low-rank adaptation (peft)."""

    rank: PositiveInt = 16
    """Rank of each factor pair."""
    alpha: PositiveFloat = 32
    """Scale is alpha ÷ rank."""
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    """Modules that are adapted."""


class ExpertTrainingConfig(TrainingConfig):
    """How experts and proxy runs are trained: all alike, from the same base."""

    method: Literal["full", "lora"] = "full"
    """Fine-tune every parameter, or low-rank factors."""
    lora: LoraConfig = LoraConfig()
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


class ExpertConfig(ConfigModel):
    """One domain: a name, and the text that one expert is trained on or the expert itself."""

    domain: Name
    """Name of the domain, unique within the study."""
    text: TextConfig | None = None
    """Training text; it may be left out where `checkpoint` is given."""
    checkpoint: str | None = None
    """Folder of an expert that was trained elsewhere from this base: full weights or LoRA."""
    allow_pickle: bool = False
    """Open the checkpoint's pickled weights, which may run code, where there are no safetensors."""
    available_tokens: PositiveInt | None = None
    """Tokens of this domain that the target run could draw on; those measured if left out."""
    max_repetition: Annotated[float, Field(ge=0)] | None = None
    """Overrides the target's highest repetition for this domain."""
