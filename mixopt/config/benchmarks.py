"""Benchmarks that models are scored on: one config per kind, and names of public test sets."""

import re
from itertools import combinations
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from mixopt.config.base import ConfigModel, Name
from mixopt.config.text import TextConfig


class CommonBenchmarkConfig(ConfigModel):
    """Fields of every benchmark."""

    name: Name
    """Unique within the study."""
    capability: Name = "all"
    """Group that the benchmark belongs to; utility is a mean over capabilities."""
    role: Literal["search", "holdout"] = "search"
    """`search` scores choose the mixture; `holdout` scores are only reported."""
    max_items: PositiveInt | None = None
    """Number of items to score, from the first; all if left out."""
    own_domain: str | None = None
    """Domain whose held-out text this is or is made from, if any."""


class BitsPerByteConfig(CommonBenchmarkConfig):
    """Bits per byte of held-out text; lower is better."""

    kind: Literal["bits_per_byte"]
    text: TextConfig
    """The text to score; an item is one document."""
    item_bytes: PositiveInt | None = None
    """Bytes to score at the start of each document; all if left out."""


class ItemsBenchmarkConfig(CommonBenchmarkConfig):
    """Items from JSON lines, a JSON array or CSV (also .gz and .zst), Parquet, or the local machine."""

    TEXTS: ClassVar[frozenset[str]] = frozenset(
        {"template", "instruction", "examples", "separator", "blank", "program", "stop"}
    )

    items: Annotated[str, Field(min_length=1)]
    """File of JSON lines, a JSON array, CSV or Parquet, relative to the YAML; or `machine:NAME`."""
    prompt_field: str = "prompt"
    """Field of an item that holds the prompt."""
    template: str | None = None
    """Jinja template of the prompt over the item's fields; `prompt_field` alone if left out."""
    instruction: str = ""
    """Instruction before every example and the item (ICLiP of BOSE)."""
    examples: list[dict[str, Any]] | str = []
    """Solved items for the prompt (few-shot): listed here, or a file as in `items`."""
    shots: PositiveInt | None = None
    """Number of examples in the prompt; all if left out."""


class ContinuationConfig(ItemsBenchmarkConfig):
    """Bits per byte of a target text, given its prompt; lower is better."""

    kind: Literal["continuation"]
    target_field: str = "target"
    """Field of an item that holds the target, with its leading space."""


class ChoiceItemsConfig(ItemsBenchmarkConfig):
    """Items with several choices, one of which is correct."""

    choices_field: str = "choices"
    """Field of an item that holds the list of choices."""
    answer_field: str = "answer"
    """Field of an item that holds the index of the correct choice, from 0."""
    separator: str = " "
    """Text between a prompt and a choice; unused if the prompt is empty."""


class MultipleChoiceConfig(ChoiceItemsConfig):
    """Share of items whose correct choice has the highest log-likelihood per byte."""

    kind: Literal["multiple_choice"]


class ChoiceLossConfig(ChoiceItemsConfig):
    """Bits per byte of the correct choice, given its prompt; lower is better.

    A smooth version of accuracy, which separates mixtures even if small models answer at chance.
    """

    kind: Literal["choice_loss"]


class BlankPerplexityConfig(ChoiceItemsConfig):
    """Share of items whose statement is most likely with the correct choice in its blank (BOSE)."""

    kind: Literal["blank_perplexity"]
    prompt_field: str = ""
    """Field with text before the statement; none if left out."""
    statement_field: str = "statement"
    """Field with the statement; unused if `template` is given."""
    blank: Annotated[str, Field(min_length=1)] = "____"
    """Marker of the blank in the statement."""


class GenerationConfig(ItemsBenchmarkConfig):
    """Share of items solved by generated text: pass@k over `samples`."""

    kind: Literal["generation"]
    match: Literal["exact", "number", "tests"] = "exact"
    """What solves an item: the target's text (`exact`), its last number, or passing its tests."""
    target_field: str = "target"
    """Field with the answer; for `match: tests`, the solution shown in examples."""
    separator: str = " "
    """Text between the prompt and the answer of an example; unused where one has white space there."""
    program: str = "{{ prompt }}{{ completion }}\n{{ test }}\n"
    """Jinja template of the program for `tests`, over the item's fields, `prompt` and `completion`."""
    stop: list[Annotated[str, Field(min_length=1)]] = ["\n\n"]
    """Strings that end a completion."""
    max_new_tokens: PositiveInt = 128
    """Maximum tokens of a completion."""
    samples: PositiveInt = 1
    """Completions per item; a single one is greedy, more are sampled."""
    k: PositiveInt = 1
    """k of pass@k, the probability that one of k samples is correct."""
    temperature: PositiveFloat = 0.8
    """Sampling temperature, if `samples` is above 1."""
    seed: int = 0
    """Seed of the samples."""
    timeout_s: PositiveFloat = 5.0
    """Time limit of the tests of one completion, in seconds."""
    memory_mb: PositiveInt = 512
    """Memory limit of the tests of one completion, in MB."""

    @model_validator(mode="after")
    def _enough_samples(self) -> "GenerationConfig":
        if self.k > self.samples:
            raise ValueError(f"k is {self.k} and samples {self.samples}; draw at least k samples")
        return self


class HarnessConfig(CommonBenchmarkConfig):
    """A task of lm-evaluation-harness (`pip install 'mixopt[eval]'`)."""

    kind: Literal["harness"]
    task: Annotated[str, Field(min_length=1)]
    """Name of the task in the harness."""
    metric: str | None = None
    """Metric of the task, such as `acc_norm`; its first if left out."""
    filter: str | None = None
    """Filter of the task, such as `strict-match`; its first if left out."""
    include_path: str | None = None
    """Folder with custom task YAMLs, relative to this YAML."""
    shots: Annotated[int, Field(ge=0)] | None = None
    """Examples in the prompt; the task's default if left out."""


BenchmarkConfig = Annotated[
    BitsPerByteConfig | ContinuationConfig | MultipleChoiceConfig | ChoiceLossConfig
    | BlankPerplexityConfig | GenerationConfig | HarnessConfig,
    Field(discriminator="kind"),
]  # fmt: skip
WHOLE_MODEL_CONFIGS = (GenerationConfig, HarnessConfig)
"""Kinds that need a whole model, because token probabilities do not suffice."""
PUBLIC_TEST_SETS = (
    "agieval", "aime", "arc", "bbh", "bigbench", "boolq", "ceval", "cmmlu", "commonsenseqa", "copa",
    "coqa", "crows", "drop", "gpqa", "gsm8k", "hellaswag", "humaneval", "ifeval", "lambada",
    "livecodebench", "logiqa", "math500", "mathqa", "mbpp", "mgsm", "minervamath", "mmlu", "mmlupro",
    "musr", "naturalquestions", "nqopen", "openbookqa", "piqa", "pubmedqa", "quac", "race", "sciq",
    "siqa", "socialiqa", "squad", "squadv2", "storycloze", "superglue", "svamp", "swag", "triviaqa",
    "truthfulqa", "webqs", "wikitext", "winogrande", "wsc",
)  # fmt: skip
"""Names of public test sets, in lower case and without punctuation."""


def public_test_set_warning(config: BenchmarkConfig) -> str | None:
    """Warn of a public test set that would choose the mixture.

    Args:
        config: The set is recognized by whole words of the benchmark's name, file or task.

    Returns:
        A sentence, or None if the role is not search or no public test set is named.
    """
    name = _find_public_test_set(config)
    if config.role != "search" or name is None:
        return None
    return (
        f"Benchmark {config.name!r} looks like the public test set {name} and has role search: the "
        "mixture will be fitted to it, so its score is no longer a test and cannot be compared with "
        "published ones. Search by its training split or by text of its kind, and give it role holdout."
    )


def _find_public_test_set(config: BenchmarkConfig) -> str | None:
    names = [config.name]
    if isinstance(config, ItemsBenchmarkConfig):
        names.append(PurePath(config.items).name.split(".")[0])
    if isinstance(config, HarnessConfig):
        names.append(config.task)
    for name in names:
        words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
        for start, end in combinations(range(len(words) + 1), 2):
            if (joined := "".join(words[start:end])) in PUBLIC_TEST_SETS:
                return joined
    return None


def native_unit(config: BenchmarkConfig) -> str:
    """Return the unit of a benchmark's scores, such as `bits per byte`.

    Spreads of scores can be compared inside one unit. A metric of the harness has a unit of its own.
    """
    if config.kind == "harness" and config.metric != "bits_per_byte":
        return f"{config.metric or config.task} of the harness"
    shares = ("multiple_choice", "blank_perplexity", "generation")
    return "share of items" if config.kind in shares else "bits per byte"
