"""The YAML files of a new study, written by `mixopt init`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mixopt.errors import ConfigError
from mixopt.io.files import write_text

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:-]*")

HEAD = """\
# A mixopt study. Run it: mixopt run {path}
# Every field, with its meaning: docs/study-files.md, or the docstrings in mixopt/config/.
"""


def write_study(folder: Path, domains: Mapping[str, str], base: str | None) -> Path:
    """Write a new study, with one expert and one held-out benchmark per domain, and return its path.

    Args:
        folder: Created if it is missing; an existing study is not overwritten.
        domains: Files (a glob relative to the caller) by domain; two example domains if empty.
        base: Folder or hub id; a small model is built and trained if it is None.

    Raises:
        ConfigError: The folder holds a study already, a name is invalid, or there is only one domain.
    """
    study = folder / "study.yaml"
    if study.exists():
        raise ConfigError(f"{study} exists already; choose another folder or remove it.")
    for name, pattern in domains.items():
        if not NAME.fullmatch(name) or not pattern:
            raise ConfigError(
                f"Domain {name!r} = {pattern!r}: a name is letters, digits, '_', '-' or ':', and its "
                "files are a path or a glob; correct it."
            )
    if len(domains) == 1:
        raise ConfigError("A mixture needs two domains or more; give --domain at least twice.")
    globs = {n: str(Path(p).absolute()) for n, p in domains.items()} or {
        "web": "data/web/*.jsonl.gz",
        "code": "data/code/*.jsonl.gz",
    }
    for name, pattern in globs.items():
        text = {
            "kind": "files",
            "paths": [_relative(pattern, folder / "experts")],
            "heldout_share": 0.05,
        }
        expert = {"domain": name, "text": {**text, "part": "train"}}
        _write(folder / "experts" / f"{name}.yaml", expert)
        benchmark = {
            "name": f"{name}_heldout",
            "kind": "bits_per_byte",
            "own_domain": name,
            "capability": name,
            "text": {**text, "part": "heldout"},
            "max_items": 200,
        }
        _write(folder / "benchmarks" / f"{name}_heldout.yaml", benchmark)
    plain: dict[str, Any] = {
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", folder.absolute().name).strip("-_") or "study",
        "base": _base(base),
        "experts": "experts/*.yaml",
        "training": {"tokens": 5_000_000, "max_epochs": 4},
        "benchmarks": "benchmarks/*.yaml",
        "search": {"rounds": [16, 8, 8]},
        "target": {"tokens": 100_000_000, "max_repetition": 4.0},
        "validation": {"mixtures": 6, "seeds": 2},
        "exports": [{"format": "yaml", "out": "mixture.yaml"}],
    }
    return _write(study, plain, HEAD.format(path=study))


def _base(base: str | None) -> dict[str, Any]:
    if base is not None:
        local = Path(base).exists()
        return {"kind": "pretrained", "path": str(Path(base).absolute()) if local else base,
                "context": 1024}  # fmt: skip
    return {
        "kind": "build",
        "config": {
            "hidden_size": 128,
            "intermediate_size": 352,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "tie_word_embeddings": True,
        },
        "vocabulary": 4096,
        "context": 256,
        "training": {"tokens": 10_000_000, "max_epochs": 4},
    }


def _relative(pattern: str, start: Path) -> str:
    return pattern if Path(pattern).is_absolute() else str(Path("..") / pattern)


def _write(path: Path, plain: Mapping[str, Any], head: str = "") -> Path:
    return write_text(path, head + yaml.safe_dump(dict(plain), sort_keys=False))
