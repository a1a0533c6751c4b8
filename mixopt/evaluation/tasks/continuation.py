"""Bits per byte of a target given its prompt: a smooth substitute for generation."""

from mixopt.config.benchmarks import ContinuationConfig
from mixopt.evaluation.tasks.base import TaskContext, describe_metric
from mixopt.evaluation.tasks.items import read_items, require_fields, require_text
from mixopt.evaluation.tasks.prompt import Item, PromptBuilder
from mixopt.evaluation.tasks.target import TargetTask


class ContinuationTask(TargetTask):
    """An item is a prompt and its target; only the target is scored.

    Raises:
        DataError: An item lacks its prompt or target.
    """

    def __init__(self, config: ContinuationConfig, context: TaskContext) -> None:
        def solve(row: Item, where: str) -> str:
            require_fields(row, [config.target_field], where)
            return require_text(row, config.target_field, where)

        prompter = PromptBuilder(config, solve)
        built = (
            context.request(prompter.write(row, where), solve(row, where))
            for where, row in read_items(config, [*prompter.fields, config.target_field])
        )
        super().__init__(describe_metric(config, "lower"), built)
