"""Multiple choice by length-normalized log-likelihood of each choice's text."""

from mixopt.config.benchmarks import MultipleChoiceConfig
from mixopt.evaluation.tasks.base import TaskContext, describe_metric
from mixopt.evaluation.tasks.choice import ChoiceTask, read_choice_items, request_choice


class MultipleChoiceTask(ChoiceTask):
    """An item is right where its answer has the highest log-likelihood per byte, `acc_bytes` in lm_eval.

    Args:
        config: Sets the file of items and their fields.
        context: Sets tokenizer and sequence length.

    Raises:
        DataError: An item has fewer than two choices, an empty one, or an answer out of range.
    """

    def __init__(self, config: MultipleChoiceConfig, context: TaskContext) -> None:
        items = (
            ([request_choice(context, prompt, config.separator, c) for c in choices], answer)
            for _, prompt, choices, answer in read_choice_items(config)
        )
        super().__init__(describe_metric(config, "higher"), items)
