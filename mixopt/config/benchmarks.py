"""What models are scored on: one recipe for each kind of benchmark."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from mixopt.config.base import ConfigModel, Name
from mixopt.config.text import TextConfig


class CommonBenchmarkConfig(ConfigModel):
    """What all kinds of benchmark say."""

    name: Name
    """Unique within the study."""
    capability: Name = "all"
    """The group it counts towards; utility is a mean over capabilities."""
    role: Literal["search", "holdout"] = "search"
    """`holdout` scores are reported and never choose a mixture."""
    max_items: PositiveInt | None = None
    """Score the first so many items."""


class BitsPerByteConfig(CommonBenchmarkConfig):
    """Bits per byte of held-out text; lower is better."""

    kind: Literal["bits_per_byte"]
    text: TextConfig
    """The text to score; an item is one document."""
    item_bytes: PositiveInt | None = None
    """Score so much of each document's beginning: more documents tell more than long ones."""
    own_domain: str | None = None
    """The domain whose held-out text this is, if it is any's."""


class ItemsBenchmarkConfig(CommonBenchmarkConfig):
    """Items from a JSONL file (also .gz and .zst), a Parquet file, or the machine."""

    items: Annotated[str, Field(min_length=1)]
    """Path relative to the YAML, or `machine:NAME`."""
    own_domain: str | None = None
    """The domain whose held-out text this is made of, if it is any's."""
    prompt_field: str = "prompt"
    """Field with the prompt."""
    template: str | None = None
    """The prompt, written with the item's fields in `{{ }}` (Jinja); `prompt_field` if left out."""
    instruction: str = ""
    """A light instruction in front of every example and of the item (BOSE's ICLiP)."""
    examples: list[dict[str, Any]] | str = []
    """Solved items shown in front of each one: in place, or a file as in `items`."""
    shots: PositiveInt | None = None
    """Show the first so many examples; all if left out."""


class ContinuationConfig(ItemsBenchmarkConfig):
    """Bits per byte of a target text given its prompt; lower is better."""

    kind: Literal["continuation"]
    target_field: str = "target"
    """Field with the target, leading space included."""


class ChoiceItemsConfig(ItemsBenchmarkConfig):
    """Items with several choices, one of them right."""

    choices_field: str = "choices"
    """Field with the list of choices."""
    answer_field: str = "answer"
    """Field with the index of the right choice."""
    separator: str = " "
    """Stands between a prompt and a choice; nothing does where the prompt is empty."""


class MultipleChoiceConfig(ChoiceItemsConfig):
    """Share of items whose right choice has the highest log-likelihood per byte."""

    kind: Literal["multiple_choice"]


class ChoiceLossConfig(ChoiceItemsConfig):
    """Bits per byte of the right choice given its prompt; lower is better.

    What accuracy is made of, without its jumps: it tells mixtures apart where small models guess.
    """

    kind: Literal["choice_loss"]


class BlankPerplexityConfig(ChoiceItemsConfig):
    """Share of items whose statement is likeliest with the right choice in its blank (BOSE)."""

    kind: Literal["blank_perplexity"]
    prompt_field: str = ""
    """Field with text that stands in front of the statement; none if left out."""
    statement_field: str = "statement"
    """Field with the statement; `template` writes it from other fields."""
    blank: Annotated[str, Field(min_length=1)] = "____"
    """What marks the blank."""


class GenerationConfig(ItemsBenchmarkConfig):
    """Share of items that are solved by text the model writes: pass@k over `samples`."""

    kind: Literal["generation"]
    match: Literal["exact", "number", "tests"] = "exact"
    """What solves an item: the target's text, its last number, or passing its tests."""
    target_field: str = "target"
    """Field with the right answer; for `tests` what examples show."""
    program: str = "{{ prompt }}{{ completion }}\n{{ test }}\n"
    """What `tests` runs, written with the item's fields, its `prompt` and the `completion`."""
    stop: list[Annotated[str, Field(min_length=1)]] = ["\n\n"]
    """A completion ends before the first of these."""
    max_new_tokens: PositiveInt = 128
    """A completion ends after so many tokens."""
    samples: PositiveInt = 1
    """Completions of each item; one is the likeliest, more are drawn."""
    k: PositiveInt = 1
    """Pass@k: the chance that one of k samples is right."""
    temperature: PositiveFloat = 0.8
    """Of drawn samples."""
    seed: int = 0
    """Of drawn samples."""
    timeout_s: PositiveFloat = 5.0
    """Time for the tests of one completion."""
    memory_mb: PositiveInt = 512
    """Memory for the tests of one completion."""

    @model_validator(mode="after")
    def _enough_samples(self) -> "GenerationConfig":
        if self.k > self.samples:
            raise ValueError(f"k is {self.k} and samples {self.samples}; draw at least k samples")
        return self


class HarnessConfig(CommonBenchmarkConfig):
    """A task of lm-evaluation-harness (`pip install 'mixopt[eval]'`)."""

    kind: Literal["harness"]
    task: Annotated[str, Field(min_length=1)]
    """The harness's name of it."""
    metric: str | None = None
    """One of the task's metrics, `acc_norm` say; its first if left out."""
    filter: str | None = None
    """One of the task's filters, `strict-match` say; its first if left out."""
    include_path: str | None = None
    """Folder with task YAMLs of your own, relative to the YAML."""
    shots: Annotated[int, Field(ge=0)] | None = None
    """Examples in the prompt; the task's own number if left out."""
    own_domain: str | None = None
    """The domain whose held-out text this is made of, if it is any's."""


BenchmarkConfig = Annotated[
    BitsPerByteConfig
    | ContinuationConfig
    | MultipleChoiceConfig
    | ChoiceLossConfig
    | BlankPerplexityConfig
    | GenerationConfig
    | HarnessConfig,
    Field(discriminator="kind"),
]
WHOLE_MODEL_CONFIGS = (GenerationConfig, HarnessConfig)
"""Kinds that need a whole model, not token probabilities alone."""
