"""Prompts from templates, instructions and solved examples.

Each few-shot example carries the instruction (in-context light-instruction prompt of BOSE,
arXiv:2503.00812), so that a base model infers the task from examples.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mixopt.config.benchmarks import ItemsBenchmarkConfig
from mixopt.errors import DataError, one_line
from mixopt.evaluation.tasks.items import read_rows, require_text

GAP = "\n\n"
"""Between examples, and before the item."""

Item = dict[str, Any]
Solve = Callable[[Item, str], str]
"""The right answer of a row as it follows its prompt; the second argument names its place."""

_RENDERING = (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, MemoryError,
              AttributeError, RecursionError)  # fmt: skip
"""What a template may raise on an item that it does not suit."""
LONGEST = 1_000_000
"""Characters that a template may make of a few: more is no prompt."""
SWELLING = {"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"}
"""Methods and filters that make gigabytes of a number."""


class _Jinja(ImmutableSandboxedEnvironment):
    # untrusted templates get no code and no operations that exhaust memory
    intercepted_binops = frozenset(("*", "**", "%"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(side) for side in (left, right) if isinstance(side, str | list | tuple)]
        numbers = [abs(side) for side in (left, right) if isinstance(side, int | float)]
        if operator == "*" and sizes and numbers and sizes[0] * numbers[0] > LONGEST:
            raise SecurityError("it repeats a text too often")
        if operator == "**" and (len(numbers) < 2 or max(numbers) > 1000):
            raise SecurityError("its power is too large")
        if operator == "%" and isinstance(left, str):
            raise SecurityError("it formats by %; write the fields out")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> None:
        pass  # `format` is refused like the other methods that multiply text

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        swells = isinstance(obj, str) and attr in SWELLING
        return not swells and super().is_safe_attribute(obj, attr, value)


# constants are not folded when a template is compiled, so that the sandbox checks every operation
_JINJA = _Jinja(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, optimized=False)
for _name in ("center", "format", "indent", "wordwrap", "xmlattr"):
    del _JINJA.filters[_name]


class Template:
    """Text with the fields of an item in `{{ }}`, rendered by Jinja in a sandbox.

    Args:
        text: Of the template; untrusted.
        name: Of the benchmark, for messages.

    Raises:
        DataError: It is not valid Jinja.
    """

    def __init__(self, text: str, name: str) -> None:
        try:
            self._template = _JINJA.from_string(text)
        except (jinja2.TemplateError, *_RENDERING) as error:
            raise DataError(
                f"Benchmark {name!r}: its template is not valid Jinja ({one_line(error)}); fix it."
            ) from None

    def write(self, row: Item, where: str) -> str:
        """Return the text for one item.

        Args:
            row: Fields of the item.
            where: Position of the item, for messages.

        Raises:
            DataError: The item lacks a field, or the template does something forbidden.
        """
        try:
            return self._template.render(row)
        except _RENDERING as error:
            raise DataError(
                f"{where}: the template cannot be filled in ({one_line(error)}); fix it or the item."
            ) from None


class PromptBuilder:
    """Builds the prompts of a benchmark.

    Args:
        config: Sets template, instruction and examples.
        solve: Returns the answer of an example or item.
        answered: Whether items have answers; if not, an item is recognized among the examples by its
            prompt only.

    Raises:
        DataError: Examples cannot be read, or lack a field.
    """

    def __init__(
        self, config: ItemsBenchmarkConfig, solve: Solve, *, answered: bool = True
    ) -> None:
        self._config, self._solve, self._answered = config, solve, answered
        self._template = None if config.template is None else Template(config.template, config.name)
        self._lead = config.instruction + "\n" if config.instruction else ""
        self._examples = [
            (own if not answered else own + solve(row, where), own + solve(row, where))
            for where, row in islice(_read_examples(config), config.shots)
            for own in [self._lead + self.ask(row, where)]
        ]
        if config.shots is not None and len(self._examples) < config.shots:
            raise DataError(
                f"Benchmark {config.name!r} shows {config.shots} examples and has "
                f"{len(self._examples)}; give more examples, or fewer shots."
            )

    @property
    def fields(self) -> list[str]:
        """Fields that each item needs for its prompt."""
        field = self._config.prompt_field
        return [field] if self._template is None and field else []

    def write(self, row: Item, where: str) -> str:
        """Return the prompt of one item after the examples; an item is never its own example."""
        own = self._lead + self.ask(row, where)
        known = own + (self._solve(row, where) if self._examples and self._answered else "")
        return GAP.join([*(text for name, text in self._examples if name != known), own])

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
