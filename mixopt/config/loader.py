"""Read, resolve and validate the YAML files of a study; every problem is one sentence.

A study names experts and benchmarks by glob; `load_study` reads them all and returns one config. Paths
in a YAML are relative to it and become absolute.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from os.path import expanduser, normpath
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from mixopt.config.base import TEXT_CONTROLS, ConfigModel
from mixopt.config.benchmarks import BenchmarkConfig
from mixopt.config.constraints import ProposalConfig
from mixopt.config.study import EXPERTS_FOLLOW, StudyConfig
from mixopt.errors import ConfigError, did_you_mean, one_line, require_count
from mixopt.io.globs import anchor_glob, expand_glob
from mixopt.io.parsing import load_yaml, require_printable, show

T = TypeVar("T")
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".arrow", ".feather")
"""Endings of tables of runs, which are given by an option."""


def _find_study(name: str | Path) -> Path:
    path = Path(name).expanduser()
    if path.suffix.lower() in TABLE_SUFFIXES:
        raise ConfigError(f"{name} is a table, not a study; give it as --runs {name}.")
    if path.is_file():
        return path.resolve()
    packed = Path(__file__).parents[1] / "_quickstart"  # in a wheel; else the checkout's root
    root = packed if packed.is_dir() else Path(__file__).parents[2]
    shipped = root / "studies" / path.stem / f"{path.stem}.yaml"
    # a file that is not here is not replaced by another study of its name
    if path.parent == Path() and not path.suffix and shipped.is_file():
        return shipped
    raise ConfigError(f"Study {name} does not exist; give a YAML file, or `quickstart`.")


def load_study(name: str | Path, *, experts_follow: bool = False) -> StudyConfig:
    """Return the config of a study with its experts and benchmarks.

    Args:
        name: Path of its YAML, or the name of a study that mixopt ships (`quickstart`).
        experts_follow: Whether `give_experts` adds some, which checks their length.

    Raises:
        ConfigError: A file is missing, is no YAML, or is invalid.
    """
    path = _find_study(name)
    # a section whose fields are all commented out is left out
    plain = {name: value for name, value in read_yaml(path).items() if value is not None}
    for section in ("experts", "benchmarks"):
        if section in plain:
            plain[section] = _read_listed(plain[section], section, path)
    _add_capability_texts(plain, path)
    phases = plain.get("phases")
    rows = [row for row in phases if isinstance(row, dict)] if isinstance(phases, list) else []
    for base in (plain.get("base"), *(row.get("base") for row in rows)):
        if isinstance(base, dict) and base.get("kind") == "pretrained" and base.get("path"):
            base["path"] = _anchor_if_exists(str(base["path"]), path.parent)
    context = EXPERTS_FOLLOW if experts_follow else None
    return _validate(partial(StudyConfig.model_validate, context=context), plain, path)


def load_benchmark(path: Path) -> BenchmarkConfig:
    """Return the config of one benchmark.

    Args:
        path: Its YAML file.

    Raises:
        ConfigError: The file is missing, is no YAML, or is invalid.
    """
    plain = _anchor_paths(read_yaml(path), path.absolute().parent)
    parse: Callable[[Any], BenchmarkConfig] = TypeAdapter(BenchmarkConfig).validate_python
    return _validate(parse, plain, path)


def _add_capability_texts(plain: dict[str, Any], study: Path) -> None:
    """Add a benchmark for each text in `capabilities` (SuperValid)."""
    named = plain.pop("capabilities", {})
    if not isinstance(named, dict) or not all(isinstance(c, dict) for c in named.values()):
        raise ConfigError(
            f"{study}: capabilities must be a mapping of each capability to its text."
        )
    for name, fields in named.items():
        benchmark = {"name": f"{name}_text", "kind": "bits_per_byte", "capability": name, **fields}
        plain.setdefault("benchmarks", []).append(_anchor_paths(benchmark, study.parent))


def give_experts(config: StudyConfig, folders: Mapping[str, Path]) -> StudyConfig:
    """Return the config with experts that were trained elsewhere.

    Args:
        config: The study.
        folders: Folder of each such expert by domain; relative ones start at the working directory.

    Raises:
        ConfigError: A name is no domain of the study, or its base is built here.
    """
    for domain in folders:
        if domain not in config.domains:
            raise ConfigError(
                f"--experts names {domain!r}, which is no domain of the study. "
                f"{did_you_mean(domain, config.domains)}"
            )
    plain = config.model_dump(mode="json")
    for expert in plain["experts"]:
        if expert["domain"] in folders:
            expert["checkpoint"] = str(folders[expert["domain"]].absolute())
    return _validate(StudyConfig.model_validate, plain, "--experts")


def set_budget(config: StudyConfig, tokens: int) -> StudyConfig:
    """Return the config with another budget.

    Args:
        config: The study.
        tokens: Tokens of training that may be spent on the answer.

    Raises:
        ConfigError: They are too few, or the study cannot spend a budget.
    """
    plain = config.model_dump(mode="json")
    plain["budget"] = (plain["budget"] or {}) | {"tokens": tokens, "runs": None}
    return _validate(StudyConfig.model_validate, plain, "--budget-tokens")


def set_seed(config: StudyConfig, seed: int) -> StudyConfig:
    """Return the config with another seed.

    Args:
        config: The study.
        seed: A whole number of at least 0; one of NumPy too.

    Raises:
        ConfigError: It is too large.
        UserError: It is negative, or no whole number.
    """
    count = require_count("The seed", seed, 0)
    limits = StudyConfig.model_fields["seed"].metadata
    _validate(TypeAdapter(Annotated[int, *limits]).validate_python, count, "--seed")
    return config.model_copy(update={"seed": count})


def choose_executor(config: StudyConfig, kind: str) -> StudyConfig:
    """Return the config with another executor.

    Args:
        config: The study; unchanged if it has that executor already.
        kind: `local`, `processes`, `ray` or `slurm`, which then has its default settings.

    Raises:
        ConfigError: There is no such executor.
    """
    if config.executor.kind == kind:
        return config
    known = ("local", "processes", "ray", "slurm")
    if kind not in known:
        raise ConfigError(f"There is no executor {kind!r}. {did_you_mean(kind, known)}")
    return StudyConfig.model_validate(config.model_dump(mode="json") | {"executor": kind})


def load_proposal_config(path: Path) -> ProposalConfig:
    """Return the config of a proposal from a table of runs.

    Args:
        path: Its YAML file.

    Raises:
        ConfigError: The file is missing, is no YAML, or is invalid.
    """
    return _validate(ProposalConfig.model_validate, read_yaml(path), path)


def _read_listed(listed: Any, section: str, study: Path) -> list[Any]:
    entries = [listed] if isinstance(listed, str) else listed
    if not isinstance(entries, list):
        raise ConfigError(f"{study}: {section} must list YAML files (globs) or mappings in place.")
    configs = []
    for entry in entries:
        if not isinstance(entry, str):
            configs.append(_anchor_paths(entry, study.parent))
            continue
        paths = [Path(name) for name in expand_glob(anchor_glob(entry, study.parent))]
        files = [path.resolve() for path in paths if path.is_file()]
        if not files:
            raise ConfigError(f"{study}: {section}: no file matches {show(entry)} beside it.")
        configs += [_anchor_paths(read_yaml(file), file.parent) for file in files]
    return configs


def _anchor_paths(plain: Any, folder: Path) -> Any:
    if not isinstance(plain, dict):
        return plain
    plain = dict(plain)
    text = plain.get("text")
    if isinstance(text, dict):
        text = dict(text)
        if isinstance(text.get("paths"), list):
            text["paths"] = [_anchor(str(path), folder, anchor_glob) for path in text["paths"]]
        if text.get("kind") == "huggingface" and isinstance(text.get("path"), str):
            text["path"] = _anchor_if_exists(text["path"], folder)
        if text.get("kind") == "tokens" and isinstance(text.get("tokenizer"), str):
            text["tokenizer"] = _anchor_if_exists(text["tokenizer"], folder)
        plain["text"] = text
    split = plain.get("split")
    if isinstance(split, dict) and isinstance(split.get("reference"), str):
        plain["split"] = {**split, "reference": _anchor_if_exists(split["reference"], folder)}
    if isinstance(plain.get("checkpoint"), str):
        plain["checkpoint"] = _anchor(plain["checkpoint"], folder)
    for name in ("items", "examples", "include_path"):
        items = plain.get(name)
        if isinstance(items, str) and not items.startswith("machine:"):
            plain[name] = _anchor(items, folder)
    return plain


def _anchor_path(path: str, folder: Path) -> str:
    path = expanduser(path)
    return path if Path(path).is_absolute() else normpath((folder / path).absolute())


def _anchor(path: str, folder: Path, anchor: Callable[[str, Path], str] = _anchor_path) -> str:
    return path if "://" in path else anchor(path, folder)  # a URL is one already


def _anchor_if_exists(path: str, folder: Path) -> str:
    path = expanduser(path)
    try:  # a path that does not exist may be a hub id
        looks_local = path.startswith((".", "/")) or (folder / path).exists()
        return str((folder / path).resolve()) if looks_local else path
    except (OSError, ValueError) as error:  # too long, or with a zero byte
        raise ConfigError(f"{show(path)} is no path ({one_line(error)}); correct it.") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Args:
        path: Of the file.

    Raises:
        ConfigError: There is no such file, or it is no YAML mapping in UTF-8.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; correct the path.")
    try:
        plain = load_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8."
        raise ConfigError(message) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or "broken").split())
        raise ConfigError(f"{path}{line}: not valid YAML ({problem}); correct it there.") from None
    except ValueError as error:  # such as a date that does not exist
        message = f"{path}: not valid YAML ({one_line(error)}); correct the value."
        raise ConfigError(message) from None
    if not isinstance(plain, dict):
        raise ConfigError(f"{path} must hold a mapping of fields; it is empty or a list.")
    try:
        require_printable(plain, TEXT_CONTROLS)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}.") from None
    return plain


def _validate(parse: Callable[[Any], T], plain: Any, where: str | Path) -> T:
    try:
        return parse(plain)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "union_tag_not_found":
            kinds = _find_kinds(parse, plain, first["loc"])
            raise ConfigError(f"{where}: {_name(first['loc'])}kind is missing; {kinds}.") from None
        raise ConfigError(f"{where}: {_first_problem(error)}") from None


def _name(steps: Sequence[int | str]) -> str:
    return "".join(f"{step}." for step in steps)


def _find_kinds(parse: Callable[[Any], T], plain: Any, steps: Sequence[int | str]) -> str:
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


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    more = f" ({len(error.errors()) - 1} more like it)" if len(error.errors()) > 1 else ""
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        known = did_you_mean(name, _known_fields())
        return f"{' '.join(where.split())} is not a field. {known}{more}"
    if first["type"] == "missing":
        return f"{where} is missing; add it.{more}"
    given = first.get("input")
    shown = f" (given: {show(given)})" if isinstance(given, str | int | float | bool) else ""
    if first["type"] in ("model_type", "model_attributes_type", "dict_type", "dataclass_type"):
        shown = " (given: nothing)" if given is None else shown
        return f"{where}: give a mapping of fields{shown}.{more}"
    message = " ".join(first["msg"].removeprefix("Value error, ").split()).rstrip(".")
    return f"{where + ': ' if where else ''}{message[:1].lower() + message[1:]}{shown}.{more}"


def _known_fields() -> set[str]:
    names: set[str] = set()
    pending: list[type[BaseModel]] = [ConfigModel]
    while pending:
        current = pending.pop()
        names |= set(current.model_fields)
        pending += current.__subclasses__()
    return names
