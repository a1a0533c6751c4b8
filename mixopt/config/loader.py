"""Read, resolve and validate the YAML files of a study; every problem is one sentence.

A study names experts and benchmarks by glob; `load_study` reads them all and returns one config. Paths
in a YAML are relative to it and become absolute.
"""

from collections.abc import Callable, Mapping
from functools import partial
from os.path import expanduser, normpath
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import TypeAdapter

from mixopt.config.base import TEXT_CONTROLS
from mixopt.config.benchmarks import BenchmarkConfig
from mixopt.config.constraints import ProposalConfig
from mixopt.config.problems import validate
from mixopt.config.study import EXPERTS_FOLLOW, StudyConfig
from mixopt.errors import ConfigError, did_you_mean, one_line, require_count
from mixopt.io.globs import anchor_glob, expand_glob
from mixopt.io.parsing import load_yaml, require_printable, show

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".arrow", ".feather")
"""Endings of tables of runs, which are given by an option."""


def _find_study(name: str | Path) -> Path:
    path = Path(name).expanduser()
    if path.suffix.lower() in TABLE_SUFFIXES:
        raise ConfigError(f"{name} is a table, not a study; run `mixopt propose --runs {name}`.")
    if path.is_file():
        return path.resolve()
    if str(name) and path.is_dir():
        studies = sorted(path.glob("*.yaml"))
        example = f", such as {studies[0]}" if studies else ""
        raise ConfigError(f"{name} is a folder, not a study; give the YAML file in it{example}.")
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
    plain = {name: value for name, value in _read_fields(path).items() if value is not None}
    files: dict[tuple[int | str, ...], Path] = {}
    for section in ("experts", "benchmarks"):
        if section in plain:
            listed = _read_listed(plain[section], section, path)
            plain[section] = [entry for entry, _ in listed]
            for number, (_, file) in enumerate(listed):
                if file is not None:
                    files[section, number] = file
    _add_capability_texts(plain, path)
    phases = plain.get("phases")
    rows = [row for row in phases if isinstance(row, dict)] if isinstance(phases, list) else []
    for base in (plain.get("base"), *(row.get("base") for row in rows)):
        if isinstance(base, dict) and base.get("kind") == "pretrained" and base.get("path"):
            base["path"] = _anchor_if_exists(str(base["path"]), path.parent)
    context = EXPERTS_FOLLOW if experts_follow else None
    parse: Callable[[Any], StudyConfig] = partial(StudyConfig.model_validate, context=context)
    return validate(parse, plain, path, StudyConfig, files)


def load_benchmark(path: Path) -> BenchmarkConfig:
    """Return the config of one benchmark.

    Args:
        path: Its YAML file.

    Raises:
        ConfigError: The file is missing, is no YAML, or is invalid.
    """
    plain = _anchor_paths(read_yaml(path), path.absolute().parent)
    parse: Callable[[Any], BenchmarkConfig] = TypeAdapter(BenchmarkConfig).validate_python
    return validate(parse, plain, path, BenchmarkConfig)


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


def give_experts(config: StudyConfig, folders: Mapping[str, str | Path]) -> StudyConfig:
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
            expert["checkpoint"] = str(Path(folders[expert["domain"]]).absolute())
    return validate(StudyConfig.model_validate, plain, "--experts", StudyConfig)


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
    return validate(StudyConfig.model_validate, plain, "--budget-tokens", StudyConfig)


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
    validate(TypeAdapter(Annotated[int, *limits]).validate_python, count, "--seed", int)
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
    return validate(ProposalConfig.model_validate, _read_fields(path), path, ProposalConfig)


def _read_fields(path: Path) -> dict[str, Any]:
    """Return the fields in a YAML, without those called `x-...`, which hold what YAML anchors repeat."""
    return {k: v for k, v in read_yaml(path).items() if not str(k).startswith("x-")}


def _read_listed(listed: Any, section: str, study: Path) -> list[tuple[Any, Path | None]]:
    """Return the entries of a section, each with its file if it has one of its own."""
    entries = [listed] if isinstance(listed, str) else listed
    if not isinstance(entries, list):
        raise ConfigError(f"{study}: {section} must list YAML files (globs) or mappings in place.")
    configs: list[tuple[Any, Path | None]] = []
    for entry in entries:
        if not isinstance(entry, str):
            configs.append((_anchor_paths(entry, study.parent), None))
            continue
        paths = [Path(name) for name in expand_glob(anchor_glob(entry, study.parent))]
        files = [path.resolve() for path in paths if path.is_file()]
        if not files:
            raise ConfigError(f"{study}: {section}: no file matches {show(entry)} beside it.")
        configs += [(_anchor_paths(read_yaml(file), file.parent), file) for file in files]
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
    path = path.expanduser()
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give the YAML file in it.")
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
