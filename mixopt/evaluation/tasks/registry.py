"""Registry of benchmark kinds: the task class of each kind that a config may name."""

from importlib import import_module

from mixopt.config.benchmarks import BenchmarkConfig
from mixopt.evaluation.tasks.base import ModelTask, Task, TaskContext

KINDS = {
    "bits_per_byte": "mixopt.evaluation.tasks.bits_per_byte:BitsPerByteTask",
    "blank_perplexity": "mixopt.evaluation.tasks.blank_perplexity:BlankPerplexityTask",
    "choice_loss": "mixopt.evaluation.tasks.choice_loss:ChoiceLossTask",
    "continuation": "mixopt.evaluation.tasks.continuation:ContinuationTask",
    "generation": "mixopt.evaluation.tasks.generation:GenerationTask",
    "harness": "mixopt.evaluation.tasks.lm_eval:LmEvalTask",
    "multiple_choice": "mixopt.evaluation.tasks.multiple_choice:MultipleChoiceTask",
}
"""Task class (`module:name`) by the `kind` of a benchmark's config; one line per kind."""


def build_task(config: BenchmarkConfig, context: TaskContext) -> Task | ModelTask:
    """Build the task that a benchmark's config describes; its items are read and encoded now.

    Args:
        config: Config of the benchmark.
        context: Tokenizer and sequence length of the base.

    Returns:
        A `Task`, or a `ModelTask` where token probabilities are not enough.

    Raises:
        DataError: The items cannot be read or used.
        MissingExtraError: The kind needs a package that is not installed.
    """
    module, name = KINDS[config.kind].split(":")
    task: Task | ModelTask = getattr(import_module(module), name)(config, context)
    return task
