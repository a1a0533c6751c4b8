"""`mixopt init`: the YAML files of a new study."""

import re
import shlex
from collections.abc import Mapping, Sequence
from os.path import expanduser
from pathlib import Path
from typing import Any

import click

from mixopt.cli.options import parse_pairs
from mixopt.errors import ConfigError, is_installed
from mixopt.io.globs import anchor_glob
from mixopt.io.run_folders import find_model_folder

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:-]*([./][A-Za-z0-9_:-]+)*")
CONTEXT = 1024
"""Tokens per sequence where the base does not tell its own."""
LONGEST_CONTEXT = 4096
"""Longest context that is written: experts with more rarely pay, and memory grows with it."""
POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
)
"""Fields of `config.json` with the number of positions."""
PRETRAINED_RATE = 5e-5
"""Learning rate for a base that is pretrained, where the Step Law, fitted from scratch, is too low."""
PRETRAINED_SEQUENCES = 16
"""Sequences of its batch: the Step Law's batch for so few tokens is one sequence of a long context."""
LEAST_RUNS = 16
RUNS_BESIDE_EXPERTS = 14
"""Runs of a budget beside the experts: natural with two seeds, six candidates, a confirmation of six."""

HEAD = """\
# A mixopt study. Run it: mixopt run {path}
# Every field, with its meaning: docs/fields.md, or the docstrings in mixopt/config/.
"""
RATE_NOTE = """\
# learning_rate is a first guess for training all parameters of a pretrained base; method: lora needs
# about ten times as much (1e-4 to 1e-3). Raise it, or training.tokens, where experts hardly move.
"""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("-d", "--domain", "domains", multiple=True, metavar="NAME=GLOB",
              help="A domain and its files; repeat for each.")  # fmt: skip
@click.option("--base", help="Folder or hub id of the base; a small one is built if left out.")
def init(folder: Path, domains: Sequence[str], base: str | None) -> None:
    """Write the YAML files of a new study into FOLDER."""
    folder = folder.expanduser()
    base = base and expanduser(base)
    path = _write_study(folder, parse_pairs(domains, "--domain", "NAME=GLOB"), base)
    if base is not None:
        click.echo(f"Context   {_context(base)[1]}")
        click.echo(
            f"Training  rate {PRETRAINED_RATE:g}, batches of {PRETRAINED_SEQUENCES} sequences: a first "
            "guess; method: lora needs about ten times the rate"
        )
    shown = shlex.quote(str(path))
    click.echo(f"Written   {path}\nNext      mixopt plan {shown}, then mixopt run {shown}")


def _write_study(folder: Path, domains: Mapping[str, str], base: str | None) -> Path:
    study = folder / "study.yaml"
    if study.exists():
        raise ConfigError(f"{study} exists already; choose another folder or remove it.")
    for name, pattern in domains.items():
        if not NAME.fullmatch(name) or not pattern:
            raise ConfigError(
                f"Domain {name!r} = {pattern!r}: a name is letters, digits, '_', '-' or ':', in parts "
                "with '.' or '/' between, and its files are a path or a glob; correct it."
            )
    if len(domains) == 1:
        raise ConfigError("A mixture needs two domains or more; give --domain at least twice.")
    globs = {
        name: pattern if "://" in pattern else anchor_glob(pattern, Path.cwd())
        for name, pattern in domains.items()
    } or {"web": "data/web/*.jsonl.gz", "code": "data/code/*.jsonl.gz"}
    for section in ("experts", "benchmarks"):
        present = sorted((folder / section).glob("*.yaml"))
        if present:
            raise ConfigError(
                f"{present[0]} exists already, and the study would read it; choose another folder."
            )
    stems = {name: re.sub(r"[./]", "_", name) for name in globs}
    for name, stem in stems.items():
        if list(stems.values()).count(stem) > 1:
            raise ConfigError(f"Domain {name!r} and another one have one file name; rename one.")
    for name, pattern in globs.items():
        # the examples are relative to the study, and the written file is one folder below it
        is_given = "://" in pattern or Path(pattern).is_absolute()
        path = pattern if is_given else str(Path("..") / pattern)
        text = {"kind": "files", "paths": [path], "heldout_share": 0.05}
        expert = {"domain": name, "text": {**text, "part": "train"}}
        _write(folder / "experts" / f"{stems[name]}.yaml", expert)
        benchmark = {"name": f"{stems[name]}_heldout", "kind": "bits_per_byte", "own_domain": name,
                     "capability": stems[name], "text": {**text, "part": "heldout"},
                     "max_items": 200}  # fmt: skip
        _write(folder / "benchmarks" / f"{stems[name]}_heldout.yaml", benchmark)
    base_section = _base(base)
    training: dict[str, Any] = {"tokens": 5_000_000, "max_epochs": 4}
    if base is not None:
        training["learning_rate"] = PRETRAINED_RATE
        training["batch_tokens"] = PRETRAINED_SEQUENCES * base_section["context"]
    plain: dict[str, Any] = {
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", folder.absolute().name).strip("-_") or "study",
        "base": base_section,
        "experts": "experts/*.yaml",
        "training": training,
        "benchmarks": "benchmarks/*.yaml",
        "search": {"rounds": [16, 8, 8]},
        "target": {"tokens": 100_000_000, "max_repetition": 4.0},
        # experts read half as many tokens as a run
        "budget": {"runs": max(LEAST_RUNS, (len(globs) + 1) // 2 + RUNS_BESIDE_EXPERTS)},
        "exports": [{"format": "yaml", "out": "mixture.yaml"}],
    }
    head = HEAD.format(path=shlex.quote(str(study))) + (RATE_NOTE if base is not None else "")
    return _write(study, plain, head)


def _base(base: str | None) -> dict[str, Any]:
    if base is not None:
        path = str(Path(base).absolute()) if Path(base).exists() else base
        return {"kind": "pretrained", "path": path, "context": _context(base)[0]}
    config = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
              "num_attention_heads": 4, "tie_word_embeddings": True}  # fmt: skip
    training = {"tokens": 10_000_000, "max_epochs": 4}
    return {"kind": "build", "config": config, "vocabulary": 4096, "context": 256,
            "training": training}  # fmt: skip


def _context(base: str) -> tuple[int, str]:
    """Return the tokens per sequence for a base, and why.

    Args:
        base: Folder or hub id; a hub id is looked up in the local cache alone.
    """
    from mixopt.io.parsing import load_json

    folder = find_model_folder(Path(base))
    file: Path | str | None = folder / "config.json" if folder.is_dir() else _find_cached(base)
    try:
        config = load_json(Path(file).read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        config = {}
    inner = config.get("text_config") if isinstance(config, dict) else None
    parts = [part for part in (inner, config) if isinstance(part, dict)]
    found = [part[name] for part in parts for name in POSITIONS if isinstance(part.get(name), int)]
    if not found or found[0] < 1:
        return CONTEXT, f"{CONTEXT:,} tokens; how many positions the base has is not known here"
    if found[0] > LONGEST_CONTEXT:
        return LONGEST_CONTEXT, f"{LONGEST_CONTEXT:,} tokens; the base has {found[0]:,} positions"
    return found[0], f"{found[0]:,} tokens, as many as the base has positions"


def _find_cached(base: str) -> str | None:
    if not is_installed("huggingface_hub"):
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(base, "config.json")
    except HFValidationError:  # a folder that does not exist
        return None
    return found if isinstance(found, str) else None


def _write(path: Path, plain: Mapping[str, Any], head: str = "") -> Path:
    import yaml

    from mixopt.io.files import write_text

    return write_text(path, head + yaml.safe_dump(dict(plain), sort_keys=False))
