"""Templates of prompts and programs: Jinja in a sandbox with limits of size, steps and time.

A template is part of a study file, which may come from others. Jinja's sandbox keeps it from Python's
internals. Here it is also kept from work without end: what grows (loops, sums of texts, filters) is
charged to a budget, and what is charged nowhere (macros, recursion, includes) is left out.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import wraps
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mixopt.errors import DataError, one_line

_RENDERING = (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, MemoryError,
              AttributeError, RecursionError)  # fmt: skip
"""What a template may raise on an item that it does not suit."""
LONGEST_TEMPLATE = 100_000
"""Characters of a template."""
BUDGET = 4_000_000
"""Characters that the steps of a template may read and write, beside those of the item."""
BUDGET_PER_CHARACTER = 20
"""The same for each character of the item's fields."""
PER_VALUE = 16
"""Charge of a value beside its characters: about what it takes in a list."""
STEP = 20
"""Charge of an iteration of a loop."""
TIMEOUT_S = 60.0
"""Time for one item; only reached where steps that are charged little take long."""
MAX_BITS = 1024
"""Largest integer that a product may have."""
FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "int",
    "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse",
    "safe", "select", "selectattr", "sort", "string", "striptags", "title", "tojson", "trim",
    "truncate", "unique", "upper", "wordcount",
)  # fmt: skip
"""Jinja's filters that make at most a little more than they are given; `join`, `replace` and `round` are
own ones."""
STRING_METHODS = frozenset({
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii",
    "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join", "lower",
    "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition",
    "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper",
})  # fmt: skip
METHODS: Mapping[type, frozenset[str]] = {
    str: STRING_METHODS,
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
    int: frozenset(),
    float: frozenset(),
    bytes: frozenset(),
}
"""Methods by type of their object; other types keep those that the sandbox allows."""
LEFT_OUT = (nodes.Macro, nodes.CallBlock, nodes.Block, nodes.Extends, nodes.Include, nodes.Import,
            nodes.FromImport)  # fmt: skip
"""Statements by which a template could call itself or read files."""


class _Budget:
    """What the rendering of one item may still do."""

    def __init__(self, left: int) -> None:
        self.left, self.until = left, time.monotonic() + TIMEOUT_S

    def charge(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise SecurityError("it makes far more than a prompt needs")
        if time.monotonic() > self.until:
            raise SecurityError(f"it takes more than {TIMEOUT_S:g} s")


_budget: ContextVar[_Budget] = ContextVar("budget")


def _weigh(value: Any, most: int) -> int:
    """Return about how many characters a value has when it is written out; at most a little over `most`.

    A list that holds another twice counts it twice, as writing it does.
    """
    weight, pending = 0, [value]
    while pending and weight <= most:
        part = pending.pop()
        weight += PER_VALUE
        if isinstance(part, str | bytes):
            weight += len(part)
        elif isinstance(part, int):
            weight += part.bit_length() // 3
        elif isinstance(part, Mapping):
            pending += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            pending += part
    return weight


def _charge(*values: Any) -> None:
    budget = _budget.get()
    for value in values:
        budget.charge(_weigh(value, budget.left))


@jinja2.pass_context
def _steps(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    """Yield the values of a loop, each for a charge."""
    budget = _budget.get()
    for value in values:
        budget.charge(STEP)
        yield value


@jinja2.pass_context
def _concatenate(context: Context, parts: list[Any]) -> str:
    _charge(*parts)
    return "".join(map(str, parts))


@jinja2.pass_context
def _checked(context: Context, value: Any) -> Any:
    """Return a list or mapping that the template has written down."""
    _charge(value)
    return value


def _write_out(context: Context, value: Any) -> Any:
    _charge(value)
    return value


def _join(values: Iterable[Any], separator: str = "") -> str:
    parts = []
    for value in values:
        _charge(value)
        parts.append(str(value))
    _budget.get().charge(len(parts) * len(separator))
    return separator.join(parts)


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    found = text.count(old) if count < 0 else min(count, text.count(old))
    _budget.get().charge(len(text) + found * len(new))
    return text.replace(old, new, count)


@jinja2.pass_context
def _filter_join(
    context: Context, values: Iterable[Any], d: str = "", attribute: str | int | None = None
) -> str:
    if attribute is not None:
        values = [
            context.environment.getitem(value, attribute) for value in _steps(context, values)
        ]
    return _join(values, str(d))


@jinja2.pass_context
def _filter_replace(context: Context, s: Any, old: Any, new: Any, count: int | None = None) -> str:
    _charge(s)
    return _replace(str(s), str(old), str(new), -1 if count is None else count)


@jinja2.pass_context
def _filter_round(context: Context, value: float, precision: int = 0) -> float:
    return round(float(value), max(-15, min(15, precision)))


def _limited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter of Jinja that is charged for what it reads and makes."""
    wanted = getattr(getattr(function, "jinja_pass_arg", None), "name", None)

    @wraps(function)
    def run(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        _charge(value, *args, *kwargs.values())
        passed = {"context": context, "eval_context": context.eval_ctx,
                  "environment": context.environment}  # fmt: skip
        first = () if wanted is None else (passed[wanted],)
        made = function(*first, value, *args, **kwargs)
        _charge(made)
        return made

    return jinja2.pass_context(run)


class _Jinja(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "**", "%"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = [side for side in (left, right) if isinstance(side, int | float)]
        sequences = [side for side in (left, right) if isinstance(side, str | bytes | list | tuple)]
        if operator == "%" and isinstance(left, str | bytes):
            raise SecurityError("it formats by %; write the fields out")
        if operator == "**" and (len(numbers) < 2 or max(map(abs, numbers)) > 100):
            raise SecurityError("its power is too large")
        if operator == "*" and sequences and numbers:
            budget = _budget.get()
            budget.charge(_weigh(sequences[0], budget.left) * max(0, int(numbers[0])))
        if (
            operator == "*"
            and sum(n.bit_length() for n in numbers if isinstance(n, int)) > MAX_BITS
        ):
            raise SecurityError("its numbers are too large")
        _charge(left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(function, "__self__", None)
        _charge(owner, *args, *kwargs.values())
        if isinstance(owner, str) and function.__name__ == "join":
            (values,) = args
            return _join(values, owner)
        if isinstance(owner, str) and function.__name__ == "replace":
            return _replace(owner, *args)
        return super().call(context, function, *args, **kwargs)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        for kind, methods in METHODS.items():
            if isinstance(obj, kind):
                return attr in methods
        return super().is_safe_attribute(obj, attr, value)


def _make_environment() -> _Jinja:
    # constants are not folded when a template is compiled, so that every operation is charged
    jinja = _Jinja(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, optimized=False,
                   finalize=jinja2.pass_context(_write_out))  # fmt: skip
    jinja.filters = {name: _limited(jinja.filters[name]) for name in FILTERS}
    jinja.filters |= {
        "join": _filter_join, "replace": _filter_replace, "round": _filter_round,
        "_steps": _steps, "_concatenate": _concatenate, "_checked": _checked,
    }  # fmt: skip
    jinja.globals = {name: jinja.globals[name] for name in ("range", "namespace")}
    return jinja


_JINJA = _make_environment()


def _parse(text: str) -> nodes.Template:
    """Parse a template, with loops, concatenations and literals going through filters that charge.

    Raises:
        SecurityError: It has statements that are left out.
    """
    tree = _JINJA.parse(text)
    for node in tree.find_all(LEFT_OUT):
        raise SecurityError(
            f"it has {type(node).__name__.lower()}, which templates here cannot use"
        )
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            raise SecurityError("it has a recursive loop, which templates here cannot use")
        loop.iter = _filtered(loop.iter, "_steps")
    _replace_expressions(tree)
    return tree


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None, lineno=node.lineno)


def _replace_expressions(node: nodes.Node) -> None:
    for field, value in node.iter_fields():
        if isinstance(value, list):
            setattr(node, field, [_replaced(one) for one in value])
        elif isinstance(value, nodes.Node):
            setattr(node, field, _replaced(value))


def _replaced(value: Any) -> Any:
    if not isinstance(value, nodes.Node):
        return value
    _replace_expressions(value)
    if isinstance(value, nodes.Concat):
        return _filtered(nodes.List(value.nodes, lineno=value.lineno), "_concatenate")
    is_read = not isinstance(value, nodes.Tuple) or value.ctx == "load"
    if isinstance(value, nodes.List | nodes.Dict | nodes.Tuple) and is_read:
        return _filtered(value, "_checked")
    return value


class Template:
    """Text with the fields of an item in `{{ }}`, rendered by Jinja in a sandbox.

    Args:
        text: Of the template; untrusted.
        name: Of the benchmark, for messages.

    Raises:
        DataError: It is not valid Jinja, or uses what templates here cannot.
    """

    def __init__(self, text: str, name: str) -> None:
        if len(text) > LONGEST_TEMPLATE:
            raise DataError(
                f"Benchmark {name!r}: its template has {len(text):,} characters; write it in at most "
                f"{LONGEST_TEMPLATE:,}."
            )
        try:
            self._template = _JINJA.from_string(cast(Any, _parse(text)))
        except _RENDERING as error:
            raise DataError(
                f"Benchmark {name!r}: its template is not valid Jinja ({one_line(error)}); fix it."
            ) from None

    def write(self, row: Mapping[str, Any], where: str) -> str:
        """Return the text for one item.

        Args:
            row: Fields of the item.
            where: Position of the item, for messages.

        Raises:
            DataError: The item lacks a field, or the template does something forbidden or without end.
        """
        size = _weigh(dict(row), 1 << 40)
        token = _budget.set(_Budget(BUDGET + BUDGET_PER_CHARACTER * size))
        try:
            return self._template.render(row)
        except _RENDERING as error:
            raise DataError(
                f"{where}: the template cannot be filled in ({one_line(error)}); fix it or the item."
            ) from None
        finally:
            _budget.reset(token)
