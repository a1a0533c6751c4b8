"""Parsing: configs read back, with one sentence where one is not what it should be."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mixopt.errors import ExportError
from mixopt.io.parsing import load_json, load_yaml, show, tell


def dump_yaml(plain: object) -> str:
    """YAML in the order given."""
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def read_yaml(text: str) -> Any:
    """What a YAML text (or JSON, which is YAML too) holds.

    Raises:
        ExportError: It is not YAML.
    """
    try:
        return load_yaml(text, unique=False)
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        raise ExportError(f"The file is not valid YAML ({tell(error)}).") from None


def read_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        ExportError: It is not JSON.
    """
    try:
        return load_json(text)
    except ValueError as error:
        raise ExportError(f"The file is not valid JSON ({tell(error)}).") from None


def dig(plain: Any, *steps: str | int) -> Any:
    """What lies at a place of nested mappings and lists.

    Raises:
        ExportError: Nothing lies there.
    """
    for at, step in enumerate(steps):
        try:
            plain = plain[step]
        except (KeyError, IndexError, TypeError):
            place = ".".join(map(str, steps[: at + 1]))
            raise ExportError(f"The file has no {place}; is it of this format?") from None
    return plain


def entries(plain: Any, *steps: str | int) -> list[Mapping[str, Any]]:
    """The list of mappings that lies at a place.

    Raises:
        ExportError: Something else lies there.
    """
    found, place = dig(plain, *steps), ".".join(map(str, steps))
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise ExportError(f"{place} of the file should be a list of mappings.")
    return found


def mapping(plain: Any, *steps: str | int) -> Mapping[str, Any]:
    """The mapping that lies at a place.

    Raises:
        ExportError: Something else lies there.
    """
    found = dig(plain, *steps)
    if not isinstance(found, Mapping):
        raise ExportError(f"{'.'.join(map(str, steps))} of the file should be a mapping.")
    return found


def numbers(given: Any, where: str) -> list[float]:
    """A list of numbers.

    Raises:
        ExportError: It is none.
    """
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ExportError(f"{where} is {show(given)}; it should be a list of numbers.")
    return [number(each, where) for each in given]


def number(given: Any, where: str) -> float:
    """A number that is not below zero.

    Raises:
        ExportError: It is none.
    """
    try:
        value = float(given)
    except (TypeError, ValueError, OverflowError):
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ExportError(f"{where} is {show(given)}; it should be a number of zero or more.")
    return value


def pair(names: Any, weights: Any, where: str) -> dict[str, float]:
    """Weights by name, from two lists of one length; a name that comes twice adds up.

    Raises:
        ExportError: They are no such lists.
    """
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise ExportError(f"{where} is {show(names)}; it should be a list.")
    values = numbers(weights, f"the weights of {where}")
    if len(names) != len(values):
        raise ExportError(f"{where} has {len(names)} entries and {len(values)} weights.")
    told: dict[str, float] = {}
    for name, value in zip(names, values, strict=True):
        told[str(name)] = told.get(str(name), 0.0) + value
    return told


def by_name(given: Any, where: str) -> dict[str, float]:
    """Weights by name, from a mapping.

    Raises:
        ExportError: It is none.
    """
    if not isinstance(given, Mapping):
        raise ExportError(f"{where} is {show(given)}; it should be a mapping of names to numbers.")
    return {str(name): number(value, f"{where}.{name}") for name, value in given.items()}


def read_constants(text: str, *names: str) -> list[Any]:
    """The literals that a Python file assigns to `names`; nothing of it is run.

    Raises:
        ExportError: It is not Python, or does not assign them.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExportError(f"The file is not valid Python ({tell(error)}).") from None
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError):
                continue  # not a literal, so none of ours
    for name in names:
        if name not in found:
            raise ExportError(f"The file assigns no literal to {name}; is it of this format?")
    return [found[name] for name in names]


def literal(mapping: Mapping[str, object]) -> str:
    """A mapping as Python text, a line for each."""
    lines = "".join(f"    {name!r}: {value!r},\n" for name, value in mapping.items())
    return "{\n" + lines + "}"
