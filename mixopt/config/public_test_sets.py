"""Public test sets by name: what should not choose a mixture."""

import re
from pathlib import PurePath

from mixopt.config.benchmarks import BenchmarkConfig, HarnessConfig, ItemsBenchmarkConfig

PUBLIC = (
    "agieval", "aime", "arc", "bbh", "bigbench", "boolq", "ceval", "cmmlu", "commonsenseqa", "copa",
    "coqa", "crows", "drop", "gpqa", "gsm8k", "hellaswag", "humaneval", "ifeval", "lambada",
    "livecodebench", "logiqa", "math500", "mathqa", "mbpp", "mgsm", "minervamath", "mmlu", "mmlupro",
    "musr", "naturalquestions", "nqopen", "openbookqa", "piqa", "pubmedqa", "quac", "race", "sciq",
    "siqa", "socialiqa", "squad", "squadv2", "storycloze", "superglue", "svamp", "swag", "triviaqa",
    "truthfulqa", "webqs", "wikitext", "winogrande", "wsc",
)  # fmt: skip
"""Names without their punctuation."""


def find_public_set(recipe: BenchmarkConfig) -> str | None:
    """The public test set that a benchmark seems to be, by its name, file or task; None if none."""
    names = [recipe.name]
    if isinstance(recipe, ItemsBenchmarkConfig):
        names.append(PurePath(recipe.items).name.split(".")[0])
    if isinstance(recipe, HarnessConfig):
        names.append(recipe.task)
    for name in names:
        words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
        for start in range(len(words)):
            for end in range(start + 1, len(words) + 1):
                if "".join(words[start:end]) in PUBLIC:
                    return "".join(words[start:end])
    return None


def warn_of_public_set(recipe: BenchmarkConfig) -> str | None:
    """A sentence where a public test set is about to choose the mixture; None where none is."""
    found = find_public_set(recipe)
    if recipe.role != "search" or found is None:
        return None
    return (
        f"Benchmark {recipe.name!r} looks like the public test set {found} and has role search: the "
        "mixture will be fitted to it, so its score is no longer a test and cannot be compared with "
        "published ones. Search by its training split or by text of its kind, and give it role holdout."
    )
