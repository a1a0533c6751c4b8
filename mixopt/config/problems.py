"""Problems of a config in one sentence: where, what, and what to write instead."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mixopt.errors import ConfigError, did_you_mean
from mixopt.io.parsing import show

T = TypeVar("T")
Step = int | str
NoFiles: Mapping[tuple[Step, ...], Path] = {}


def validate(
    parse: Callable[[Any], T],
    plain: Any,
    where: str | Path,
    root: Any,
    files: Mapping[tuple[Step, ...], Path] = NoFiles,
) -> T:
    """Return a config, or raise its first problem.

    Args:
        parse: Validates plain values.
        plain: As read from the file.
        where: The file, for messages.
        root: Class of the config, or a union of classes.
        files: Other files by the place of what they hold (`("experts", 0)`), named in its stead.

    Raises:
        ConfigError: It is invalid.
    """
    try:
        return parse(plain)
    except ValidationError as error:
        first = error.errors()[0]
        steps = first["loc"]
        file = files.get(steps[:2])
        place = steps if file is None else steps[2:]
        if first["type"] == "union_tag_not_found":
            kinds = _find_kinds(parse, plain, steps)
            name = "".join(f"{step}." for step in place)
            raise ConfigError(f"{file or where}: {name}kind is missing; {kinds}.") from None
        raise ConfigError(f"{file or where}: {_first_problem(error, place, root)}") from None


def _find_kinds(parse: Callable[[Any], T], plain: Any, steps: Sequence[Step]) -> str:
    """Return what to write as a missing `kind`, by an attempt with one that does not exist."""
    attempt = deepcopy(plain)
    inner = attempt
    for step in steps:
        # a step may be the kind of a section, which is no field
        is_field = isinstance(inner, dict) and step in inner
        is_place = isinstance(inner, list) and isinstance(step, int) and step < len(inner)
        inner = inner[step] if is_field or is_place else inner
    if isinstance(inner, dict):
        inner["kind"] = ""
        try:
            parse(attempt)
        except ValidationError as error:
            for problem in error.errors():
                if problem["type"] == "union_tag_invalid" and problem["loc"] == tuple(steps):
                    return f"add one of {problem['ctx']['expected_tags']}".replace("'", "")
    return "add it"


def _first_problem(error: ValidationError, place: Sequence[Step], root: Any) -> str:
    first = error.errors()[0]
    where = ".".join(str(step) for step in place)
    more = f" ({len(error.errors()) - 1} more like it)" if len(error.errors()) > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{' '.join(where.split())} is not a field. {_advise(root, first['loc'])}{more}"
    if first["type"] == "missing":
        return f"{where} is missing; add it.{more}"
    given = first.get("input")
    shown = f" (given: {show(given)})" if isinstance(given, str | int | float | bool) else ""
    if first["type"] in ("model_type", "model_attributes_type", "dict_type", "dataclass_type"):
        shown = " (given: nothing)" if given is None else shown
        return f"{where}: give a mapping of fields{shown}.{more}"
    message = " ".join(first["msg"].removeprefix("Value error, ").split()).rstrip(".")
    return f"{where + ': ' if where else ''}{message[:1].lower() + message[1:]}{shown}.{more}"


def _advise(root: Any, steps: Sequence[Step]) -> str:
    """Return what may be meant by a name that is no field where it stands."""
    name = str(steps[-1])
    known = {field for model in _models_at(root, steps[:-1]) for field in model.model_fields}
    places = sorted(set(_find_places(root, name)))
    if places:
        section = steps[0] if len(steps) > 1 else "this level"
        return f"{name!r} is a field of {', '.join(places)} and not of {section}; move it there."
    return did_you_mean(name, known)


def _find_places(root: Any, name: str) -> Iterator[str]:
    """Yield the sections of a config that have a field, and `the top level`."""
    for model in _models_in(root):
        if name in model.model_fields:
            yield "the top level"
        for section, field in model.model_fields.items():
            if any(name in inner.model_fields for inner in _models_in(field.annotation)):
                yield section


def _models_at(annotation: Any, steps: Sequence[Step]) -> list[type[BaseModel]]:
    """Return the classes that may stand at a place in a config.

    Args:
        annotation: Type of the config.
        steps: Fields, places in lists, keys of mappings and kinds, as pydantic names them.
    """
    models = _models_in(annotation)
    for number, step in enumerate(steps):
        fields = [m.model_fields[str(step)] for m in models if step in m.model_fields]
        if fields:
            rest = steps[number + 1 :]
            return [found for f in fields for found in _models_at(f.annotation, rest)]
        models = [m for m in models if step in _kinds_of(m)] or models
    return models


def _kinds_of(model: type[BaseModel]) -> tuple[Any, ...]:
    kind = model.model_fields.get("kind")
    is_literal = kind is not None and get_origin(kind.annotation) is Literal
    return get_args(kind.annotation) if kind is not None and is_literal else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the classes of configs in a type, also in lists, mappings and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
