"""Prompts from templates, instructions and solved examples.

Each few-shot example carries the instruction (in-context light-instruction prompt of BOSE,
arXiv:2503.00812), so that a base model infers the task from examples.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

from mixopt.config.benchmarks import ItemsBenchmarkConfig
from mixopt.errors import DataError
from mixopt.evaluation.tasks.items import read_rows, require_text
from mixopt.evaluation.tasks.template import Template

GAP = "\n\n"
"""Between examples, and before the item."""

Item = dict[str, Any]
Solve = Callable[[Item, str], str]
"""The right answer of a row as it follows its prompt; the second argument names its place."""


class PromptBuilder:
    """Builds the prompts of a benchmark.

    Args:
        config: Sets template, instruction and examples.
        solve: Returns the answer of an example or item.
        answered: Whether items have answers; if not, an item is recognized among the examples by its
            prompt only.
        separator: Between the prompt and the answer of an example, unless one has white space there.

    Raises:
        DataError: Examples cannot be read, or lack a field.
    """

    def __init__(
        self,
        config: ItemsBenchmarkConfig,
        solve: Solve,
        *,
        answered: bool = True,
        separator: str = "",
    ) -> None:
        self._config, self._solve, self._answered = config, solve, answered
        self._separator = separator
        self._template = None if config.template is None else Template(config.template, config.name)
        self._lead = config.instruction + "\n" if config.instruction else ""
        self._examples = [
            (own if not answered else self._join(own, solved), self._join(own, solved))
            for where, row in islice(_read_examples(config), config.shots)
            for own, solved in [(self._lead + self.ask(row, where), solve(row, where))]
        ]
        if config.shots is not None and len(self._examples) < config.shots:
            raise DataError(
                f"Benchmark {config.name!r} shows {config.shots} examples and has "
                f"{len(self._examples)}; give more examples, or fewer shots."
            )

    def write(self, row: Item, where: str) -> str:
        """Return the prompt of one item after the examples; an item is never its own example."""
        own = self._lead + self.ask(row, where)
        known = own
        if self._examples and self._answered:
            known = self._join(own, self._solve(row, where))
        return GAP.join([*(text for name, text in self._examples if name != known), own])

    def _join(self, prompt: str, answer: str) -> str:
        apart = not prompt or prompt[-1].isspace() or answer[:1].isspace()
        return prompt + ("" if apart else self._separator) + answer

    def ask(self, row: Item, where: str) -> str:
        """Return the question of an item, without instruction and examples."""
        if self._template is not None:
            return self._template.write(row, where)
        field = self._config.prompt_field
        return require_text(row, field, where, empty=True) if field else ""


def _read_examples(config: ItemsBenchmarkConfig) -> list[tuple[str, Item]]:
    if isinstance(config.examples, str):
        return list(read_rows(config.examples))
    where = f"benchmark {config.name!r}, example"
    return [(f"{where} {number}", row) for number, row in enumerate(config.examples, start=1)]
