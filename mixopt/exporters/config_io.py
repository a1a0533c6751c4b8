"""Read and write config text: YAML, JSON and literals of Python files.

A config that is read back is untrusted input: nothing in it is executed, and each reader raises an
`ExportError` of one sentence where the text is not what it should be.
"""

import ast
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import yaml

from mixopt.errors import ExportError, one_line
from mixopt.io.parsing import load_json, load_yaml, show

STRING = "tag:yaml.org,2002:str"


def dump_yaml(config: object) -> str:
    """Return YAML text.

    Args:
        config: Plain values; the order of keys is kept.
    """
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Quotes names that trainers' parsers would read as numbers, such as `1e3` and `0o17`.

    PyYAML itself quotes the numbers of YAML 1.1 alone.
    """

    def represent_name(self, text: str) -> yaml.ScalarNode:
        """Return the node of a string."""
        return self.represent_scalar(STRING, text, style="'" if _is_number(text) else None)


_Dumper.add_representer(str, _Dumper.represent_name)


def _is_number(text: str) -> bool:
    for parse in (float, partial(int, base=0)):
        with suppress(ValueError):
            parse(text)
            return True
    return False


def read_yaml(text: str) -> Any:
    """Return the content of YAML (or JSON) text.

    Args:
        text: Of the file.

    Raises:
        ExportError: It is not YAML.
    """
    try:
        return load_yaml(text, unique=False)
    except (yaml.YAMLError, ValueError) as error:  # PyYAML raises ValueError for an invalid date
        raise ExportError(f"The file is not valid YAML ({one_line(error)}).") from None


def read_json(text: str) -> Any:
    """Return the content of JSON text.

    Args:
        text: Of the file.

    Raises:
        ExportError: It is not JSON.
    """
    try:
        return load_json(text)
    except ValueError as error:
        raise ExportError(f"The file is not valid JSON ({one_line(error)}).") from None


def read_literal(text: str, name: str) -> Any:
    """Return a literal in a Python file, without running the file.

    Args:
        text: Of the file.
        name: Variable that the literal is assigned to; the last assignment counts.

    Raises:
        ExportError: The text is not Python or assigns no literal to `name`.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExportError(f"The file is not valid Python ({one_line(error)}).") from None
    for node in reversed(tree.body):
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and target.id == name:
            with suppress(ValueError, TypeError, RecursionError, MemoryError):  # an expression
                return ast.literal_eval(node.value)
    raise ExportError(f"The file assigns no literal to {name}; check that --format is right.")


def dig(config: Any, *keys: str | int) -> Any:
    """Return the value at a path inside a config.

    Args:
        config: Content of the file.
        keys: Keys and indices, from the outermost.

    Raises:
        ExportError: The path does not exist.
    """
    for at, key in enumerate(keys):
        try:
            config = config[key]
        except (KeyError, IndexError, TypeError):
            place = ".".join(map(str, keys[: at + 1]))
            raise ExportError(f"The file has no {place}; check that --format is right.") from None
    return config


def dig_list(config: Any, *keys: str | int) -> list[Mapping[str, Any]]:
    """Return the list of mappings at a path inside a config.

    Args:
        config: Content of the file.
        keys: As for `dig`.

    Raises:
        ExportError: The path does not exist, or holds something else.
    """
    value, place = dig(config, *keys), ".".join(map(str, keys))
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise ExportError(f"{place} of the file should be a list of mappings.")
    return value


def dig_mapping(config: Any, *keys: str | int) -> Mapping[str, Any]:
    """Return the mapping at a path inside a config.

    Args:
        config: Content of the file.
        keys: As for `dig`.

    Raises:
        ExportError: The path does not exist, or holds something else.
    """
    value = dig(config, *keys)
    if not isinstance(value, Mapping):
        raise ExportError(f"{'.'.join(map(str, keys))} of the file should be a mapping.")
    return value


def parse_weight(value: Any, where: str) -> float:
    """Return a weight as a number.

    Args:
        value: As the file states it.
        where: Its place, for the message.

    Raises:
        ExportError: It is not a finite number of zero or more.
    """
    try:
        weight = float(value)
    except (TypeError, ValueError, OverflowError):
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise ExportError(f"{where} is {show(value)}; it should be a number of zero or more.")
    return weight


def zip_weights(names: Any, weights: Any, where: str) -> dict[str, float]:
    """Return weights by name.

    Args:
        names: List of `n` names; the weights of a repeated name add up.
        weights: List of `n` numbers.
        where: Place of the names, for messages.

    Raises:
        ExportError: They are not lists of equal length, or a weight is not a number.
    """
    for what, given in ((where, names), (f"the weights of {where}", weights)):
        if not isinstance(given, Sequence) or isinstance(given, str):
            raise ExportError(f"{what} is {show(given)}; it should be a list.")
    if len(names) != len(weights):
        raise ExportError(f"{where} has {len(names)} entries and {len(weights)} weights.")
    total: dict[str, float] = {}
    for name, weight in zip(names, weights, strict=True):
        value = parse_weight(weight, f"a weight of {where}")
        total[str(name)] = total.get(str(name), 0.0) + value
    return total


def weights_by_name(mapping: Any, where: str) -> dict[str, float]:
    """Return weights by name.

    Args:
        mapping: Of names to numbers.
        where: Its place, for messages.

    Raises:
        ExportError: It is not a mapping, or a weight is not a number.
    """
    if not isinstance(mapping, Mapping):
        raise ExportError(
            f"{where} is {show(mapping)}; it should be a mapping of names to numbers."
        )
    return {str(name): parse_weight(value, f"{where}.{name}") for name, value in mapping.items()}
