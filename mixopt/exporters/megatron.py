"""Megatron-LM and Megatron-Core data arguments: `weight path weight path ...`, or JSON per split.

`megatron` writes the file for `--data-args-path`, which needs a `--split` (the text also follows
`--data-path` inline);
`megatron-per-split` writes the JSON for `--per-split-data-args-path`, which must have the keys train,
valid and test. Megatron asserts weights > 0, so zeros are left out. It splits arguments at white
space, so a path must not contain any.

Ratios: of tokens (packed sequences). Source: megatron/training/arguments.py and
megatron/core/datasets/blended_dataset.py at commit d98e8a64 (read); megatron-core 0.16.1, whose
`get_blend_from_list` the tests run.
"""

import json
import re

from mixopt.errors import ExportError
from mixopt.exporters.config_io import dig, read_json, zip_weights
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture
from mixopt.exporters.rounding import format_ratio

WEIGHT = re.compile(r"[\d.]+(?:[eE][-+]?\d+)?")
SHELL_CHARACTERS = re.compile(r"[^\w@%+=:,./-]")
"""Characters that `shlex.quote` would quote; letters of any alphabet are none."""


def _write_arguments(request: ExportRequest) -> str:
    parts = _blend(request)
    for path in parts[1::2]:
        if SHELL_CHARACTERS.search(path):
            raise ExportError(
                f"The arguments may stand on a command line, and the path {path!r} has a character that "
                "a shell acts on; rename or link the data."
            )
    return " ".join(parts) + "\n"


def _write_per_split(request: ExportRequest) -> str:
    splits = {"train": _blend(request)}
    for split in ("valid", "test"):
        given = request.options.get(split)
        # no default: validating on training data would be wrong
        if not isinstance(given, list | tuple):
            raise ExportError(
                f"megatron-per-split needs the option {split!r}, a list of held-out data paths; "
                "give it (options: in a study, --option on the command line)."
            )
        splits[split] = [str(part) for part in given]
    return json.dumps(splits, indent=2) + "\n"


def _blend(request: ExportRequest) -> list[str]:
    parts = []
    for path, ratio in request.weights_by_path().items():
        if any(character.isspace() for character in path):
            raise ExportError(
                f"Megatron splits its data arguments at white space, and the path {path!r} "
                "contains some; move or link the data."
            )
        parts += [format_ratio(ratio), path]
    return parts


def _parse_blend(parts: list[str]) -> list[ParsedMixture]:
    if parts and not any(WEIGHT.fullmatch(str(part)) for part in parts):
        raise ExportError(
            "The blend states no weights, and Megatron then draws from each path by its size; write a "
            "weight before each path."
        )
    return [ParsedMixture(zip_weights(parts[1::2], parts[::2], "the blend"))]


def _read_per_split(text: str, _: Options) -> list[ParsedMixture]:
    train = dig(read_json(text), "train")
    if not isinstance(train, str | list):
        raise ExportError("train of the file should be a list of weights and paths.")
    return _parse_blend(train.split() if isinstance(train, str) else train)


ARGUMENTS = ExportFormat(write=_write_arguments, read=lambda text, _: _parse_blend(text.split()))

PER_SPLIT = ExportFormat(write=_write_per_split, read=_read_per_split, options=("valid", "test"))
"""Options, both required: `valid` and `test`, lists of paths (or of weights and paths in turn)."""
