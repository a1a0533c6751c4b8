"""Read untrusted JSON and YAML. Invalid input raises a `ValueError` with a short message.

Refused are nesting that exhausts the stack, integers of thousands of digits, lone surrogates, which no
file can hold, and YAML aliases that are recursive or expand to billions of values. Booleans of YAML are
`true` and `false` alone, as in YAML 1.2: `no` is Norwegian.
"""

import json
import math
import re
from collections import Counter
from typing import Any
from unicodedata import category

import yaml

from mixopt.errors import hide_credentials

MOST_DIGITS = 300
"""Largest number of digits of an integer; more do not fit into a float."""
MOST_NODES = 1_000_000
"""Largest number of nodes of a YAML text with its aliases expanded."""
CONTROL_CATEGORIES = ("Cc", "Zl", "Zp")
"""Unicode categories of control characters, line and paragraph separators."""
SHOWN = 80
"""Characters of an untrusted value that a message repeats."""


def load_json(text: str | bytes) -> Any:
    """Parse a JSON text.

    Args:
        text: Untrusted; bytes are UTF-8.

    Raises:
        ValueError: It is invalid, or refused.
    """
    try:
        if isinstance(text, str) and not text.startswith("\ufeff"):
            plain = _decoder.decode(
                text
            )  # as `json.loads` would, without making a decoder each time
        else:
            plain = json.loads(text, parse_int=_parse_int)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    escape, sign = (b"\\u", b"\\ud") if isinstance(text, bytes) else ("\\u", "\\ud")
    if escape in text and sign in text.lower():  # type: ignore[operator]
        require_text(plain)
    return plain


def load_yaml(text: str, *, unique: bool = True) -> Any:
    """Parse a YAML text into plain values.

    Args:
        text: The text.
        unique: Whether a duplicate key is an error; otherwise its last value counts.

    Raises:
        ValueError: It is refused.
        yaml.YAMLError: It is invalid.
    """
    try:
        plain = yaml.load(text, Loader=_UniqueLoader if unique else _PlainLoader)
        if "\\u" in text.lower():
            require_text(plain)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return plain


def require_text(value: Any) -> None:
    """Check that every string can be written to a file.

    Args:
        value: Plain values, nested as in JSON.

    Raises:
        ValueError: A string has a lone surrogate.
    """
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            try:
                part.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"it holds half a character ({part[error.start]!r}), which is no text"
                ) from None
        elif isinstance(part, dict):
            pending += [*part.keys(), *part.values()]
        elif isinstance(part, list):
            pending += part


def require_printable(value: Any, allowed: str = "") -> None:
    """Check that no string has a control character.

    One could end a line of a script for a scheduler, or change what a terminal shows.

    Args:
        value: Plain values, nested as in JSON; keys are checked too.
        allowed: Control characters that may occur.

    Raises:
        ValueError: A string has another one.
    """
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            for character in part:
                if category(character) in CONTROL_CATEGORIES and character not in allowed:
                    raise ValueError(
                        f"{show(part)} has the control character {character!r}; remove it"
                    )
        elif isinstance(part, dict):
            pending += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple):
            pending += part


def show(value: object) -> str:
    """Return an untrusted value for a message: quoted, in one line, and without credentials.

    Args:
        value: Its `repr` is cut to `SHOWN` characters.
    """
    text = hide_credentials(repr(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _parse_int(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits is not supported")
    return int(digits)


_decoder = json.JSONDecoder(parse_int=_parse_int)


class _PlainLoader(yaml.SafeLoader):
    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _require_finite(node)
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MOST_DIGITS:
            raise ValueError(f"a number of {len(node.value):,} digits is not supported")
        return int(super().construct_yaml_int(node))


_BOOLEAN = "tag:yaml.org,2002:bool"
_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    _BOOLEAN, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


class _UniqueLoader(_PlainLoader):
    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _require_unique(node)  # before merge keys are resolved, whose values may be overridden
        return node


def _require_unique(root: yaml.Node) -> None:
    """Raise a `MarkedYAMLError` if a mapping gives a key twice."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += reversed(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            for key, count in keys.items():
                if count > 1:
                    problem = f"{show(key)} is given twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
            pending += [part for pair in reversed(node.value) for part in pair]


def _require_finite(root: yaml.Node) -> None:
    """Raise a `ValueError` if aliases are recursive or expand to more than `MOST_NODES` nodes."""
    sizes: dict[int, float] = {}

    def size_of(node: yaml.Node) -> float:
        size = sizes.get(id(node))
        if size is not None:
            if math.isnan(size):
                raise ValueError("an alias contains itself")
            return size
        sizes[id(node)] = math.nan  # being counted
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        sizes[id(node)] = 1 + sum(size_of(part) for part in inner)
        return sizes[id(node)]

    if size_of(root) > MOST_NODES:
        raise ValueError(f"its aliases expand to more than {MOST_NODES:,} values")
