"""Untrusted text: JSON and YAML from anybody, read without surprises.

Everything that is wrong with a text is a `ValueError` with a short message: nesting that would exhaust
the stack, numbers of thousands of digits, half characters that cannot be written again, aliases that
hold themselves or unfold to billions.
"""

import json
import math
from collections import Counter
from typing import Any

import yaml

MOST_DIGITS = 300
"""Of a whole number: what fits into a float."""
MOST_NODES = 1_000_000
"""Of a YAML text with its aliases unfolded."""
SHOWN = 80
"""Characters of a foreign value that a message repeats."""


def load_json(text: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: It is none, or holds what nobody can use.
    """
    try:
        plain = json.loads(text, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    sign = b"\\ud" if isinstance(text, bytes) else "\\ud"
    if sign in text.lower():  # type: ignore[operator]
        require_text(plain)
    return plain


def load_yaml(text: str, *, unique: bool = True) -> Any:
    """What a YAML text holds, in plain values.

    Args:
        text: The text.
        unique: Whether a key that stands twice is an error, not a silent last word.

    Raises:
        ValueError: It holds what nobody can use.
        yaml.YAMLError: It is no YAML.
    """
    try:
        plain = yaml.load(text, Loader=_UniqueLoader if unique else _PlainLoader)
        if "\\u" in text.lower():
            require_text(plain)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return plain


def require_text(value: Any) -> None:
    """Raises `ValueError` where a text inside `value` is half a character, which no file can hold."""
    pending = [value]
    while pending:
        found = pending.pop()
        if isinstance(found, str):
            try:
                found.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"it holds half a character ({found[error.start]!r}), which is no text"
                ) from None
        elif isinstance(found, dict):
            pending += [*found.keys(), *found.values()]
        elif isinstance(found, list):
            pending += found


def show(value: object) -> str:
    """A foreign value for a message: quoted, in one line, and short."""
    told = repr(value)
    return told if len(told) <= SHOWN else f"{told[:SHOWN]}..."


def tell(error: BaseException) -> str:
    """What an error says, in one short line."""
    told = " ".join(str(error).split()) or type(error).__name__
    return told if len(told) <= 3 * SHOWN else f"{told[: 3 * SHOWN]}..."


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits is no number for anybody")
    return int(digits)


class _PlainLoader(yaml.SafeLoader):
    """Plain values; aliases may not hold themselves nor unfold to more than `MOST_NODES`."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _require_finite(node)
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MOST_DIGITS:
            raise ValueError(f"a number of {len(node.value):,} digits is no number for anybody")
        return int(super().construct_yaml_int(node))


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


class _UniqueLoader(_PlainLoader):
    """Plain values in which a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in keys.items():
            if count > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"{show(key)} stands twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep=deep)


def _require_finite(root: yaml.Node) -> None:
    sizes: dict[int, float] = {}

    def size_of(node: yaml.Node) -> float:
        found = sizes.get(id(node))
        if found is not None:
            if math.isnan(found):
                raise ValueError("an alias holds itself")
            return found
        sizes[id(node)] = math.nan  # being counted
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        sizes[id(node)] = 1 + sum(size_of(part) for part in inner)
        return sizes[id(node)]

    if size_of(root) > MOST_NODES:
        raise ValueError("its aliases unfold to more values than anybody wrote")
