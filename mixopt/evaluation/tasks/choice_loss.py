"""Bits per byte of the right choice, a smooth substitute for multiple-choice accuracy."""

from mixopt.config.benchmarks import ChoiceLossConfig
from mixopt.evaluation.tasks.base import TaskContext, describe_metric
from mixopt.evaluation.tasks.choice import read_choice_items, request_choice
from mixopt.evaluation.tasks.continuation import TargetTask


class ChoiceLossTask(TargetTask):
    """An item is the right choice given its prompt; wrong choices are not scored.

    Args:
        config: Sets the file of items and their fields.
        context: Sets tokenizer and sequence length.

    Raises:
        DataError: An item has fewer than two choices, an empty one, or an answer out of range.
    """

    def __init__(self, config: ChoiceLossConfig, context: TaskContext) -> None:
        built = (
            request_choice(context, prompt, config.separator, choices[answer])
            for _, prompt, choices, answer in read_choice_items(config)
        )
        super().__init__(describe_metric(config, "lower"), built)
