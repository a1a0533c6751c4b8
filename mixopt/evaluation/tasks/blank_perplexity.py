"""Blank-ppl: the choice that makes a statement likeliest when it is filled into its blank.

BOSE (arXiv:2503.00812) "transforms the standard perplexity metric into a fill-in-the-blank format".
Its exact formula could not be read; here the whole statement is scored with each choice's text in
the blank, and the lowest perplexity per byte wins.
"""

from collections.abc import Iterator

from mixopt.config.benchmarks import BlankPerplexityConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.base import TaskContext
from mixopt.evaluation.tasks.choice import Built, ChoiceTask
from mixopt.evaluation.tasks.items import read_answer, read_choices, read_items, require_text
from mixopt.evaluation.tasks.prompt import GAP, Item, PromptBuilder, Template


class BlankPerplexityTask(ChoiceTask):
    """An item is a statement with a blank and what may fill it.

    Raises:
        DataError: An item's statement has no blank or several, or its choices or answer are bad.
    """

    def __init__(self, recipe: BlankPerplexityConfig, context: TaskContext) -> None:
        self._recipe = recipe
        # in front of the statement stand its passage and the solved examples; `template` writes
        # the statement itself
        passage = recipe.model_copy(update={"template": None})
        self._template = None if recipe.template is None else Template(recipe.template, recipe.name)
        self._prompter = PromptBuilder(passage, self._solve)
        super().__init__(recipe, self._build(context))

    def _build(self, context: TaskContext) -> Iterator[tuple[list[Built], int]]:
        recipe = self._recipe
        fields = [*self._prompter.fields, recipe.choices_field, recipe.answer_field]
        if self._template is None:
            fields.append(recipe.statement_field)
        for where, row in read_items(recipe, fields):
            prompt = self._prompter.write(row, where)
            filled, answer = self._fill(row, where)
            gap = "" if not prompt or prompt.endswith((GAP, "\n", " ")) else " "
            yield [context.request(prompt, gap + text) for text in filled], answer

    def _fill(self, row: Item, where: str) -> tuple[list[str], int]:
        """The statement with each choice in its blank, and the right one's index."""
        recipe = self._recipe
        if self._template is None:
            statement = require_text(row, recipe.statement_field, where)
        else:
            statement = self._template.write(row, where)
        if statement.count(recipe.blank) != 1:
            raise DataError(
                f"{where}: the statement has {statement.count(recipe.blank)} blanks "
                f"({recipe.blank!r}) and needs one; mend the item or the template."
            )
        choices = read_choices(row, recipe.choices_field, where)
        answer = read_answer(row, recipe.answer_field, len(choices), where)
        return [statement.replace(recipe.blank, choice.strip()) for choice in choices], answer

    def _solve(self, row: Item, where: str) -> str:
        filled, answer = self._fill(row, where)
        return filled[answer]
