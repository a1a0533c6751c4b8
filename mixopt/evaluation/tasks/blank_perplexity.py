"""Fill-in-the-blank perplexity: the choice that makes a statement likeliest in its blank.

BOSE (arXiv:2503.00812) "transforms the standard perplexity metric into a fill-in-the-blank format" and
gives no formula. Here the whole statement is scored with each choice in the blank, and the lowest
perplexity per byte wins.
"""

from collections.abc import Iterator

from mixopt.config.benchmarks import BlankPerplexityConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import TaskContext, describe_metric
from mixopt.evaluation.tasks.choice import Built, ChoiceTask
from mixopt.evaluation.tasks.items import read_choices, read_items, require_text
from mixopt.evaluation.tasks.prompt import Item, PromptBuilder
from mixopt.evaluation.tasks.template import Template


class BlankPerplexityTask(ChoiceTask):
    """An item is a statement with one blank and choices to fill it.

    Args:
        config: Sets the file of items and their fields.
        context: Sets tokenizer and sequence length.

    Raises:
        DataError: An item's statement has no blank or several, or its choices or answer are bad.
    """

    def __init__(self, config: BlankPerplexityConfig, context: TaskContext) -> None:
        self._config = config
        # the passage and solved examples precede the statement; `template` writes the statement
        passage = config.model_copy(update={"template": None})
        self._template = None if config.template is None else Template(config.template, config.name)
        self._prompter = PromptBuilder(passage, self._solve)
        super().__init__(describe_metric(config, "higher"), self._build(context))

    def _build(self, context: TaskContext) -> Iterator[tuple[list[Built], int]]:
        config = self._config
        for where, row in read_items(config):
            prompt = self._prompter.write(row, where)
            filled, answer = self._fill(row, where)
            yield [context.request(prompt, text) for text in filled], answer

    def _fill(self, row: Item, where: str) -> tuple[list[str], int]:
        """Return the statement with each choice in its blank, as it follows its passage."""
        config = self._config
        if self._template is None:
            statement = require_text(row, config.statement_field, where)
        else:
            statement = self._template.write(row, where)
        if statement.count(config.blank) != 1:
            raise DataError(
                f"{where}: the statement has {statement.count(config.blank)} blanks "
                f"({config.blank!r}) and needs one; fix the item or the template."
            )
        choices, answer = read_choices(row, config, where)
        passage = (
            require_text(row, config.prompt_field, where, empty=True) if config.prompt_field else ""
        )
        # an instruction without a passage ends with a line
        gap = "" if not passage or passage.endswith(("\n", " ")) else " "
        return [gap + statement.replace(config.blank, choice.strip()) for choice in choices], answer

    def _solve(self, row: Item, where: str) -> str:
        filled, answer = self._fill(row, where)
        return filled[answer]
