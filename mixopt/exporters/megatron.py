"""Megatron-LM and Megatron-Core: weights and data prefixes, inline or as JSON per split.

Megatron draws by tokens (packed sequences) and asserts weights > 0, so zero ratios are dropped.
The file for `--data-args-path` is split at white space, so a path may hold none.
Syntax read in megatron/training/arguments.py and core/datasets/blended_dataset.py (2026-11).
"""

import json
from collections.abc import Mapping
from typing import Any

from mixopt.errors import ExportError
from mixopt.exporters.parsing import dig, pair, read_json
from mixopt.exporters.request import ExportRequest, Format, Reading
from mixopt.exporters.rounding import format_ratio


def _write_arguments(request: ExportRequest) -> str:
    return " ".join(blend_of(request)) + "\n"


def _write_per_split(request: ExportRequest) -> str:
    for split in ("valid", "test"):
        if not isinstance(request.options.get(split), list | tuple):
            raise ExportError(
                f"megatron-per-split needs the option {split!r}, a list of held-out data paths; "
                "give it (options: in a study, --option on the command line)."
            )
    splits = {
        "train": blend_of(request),
        "valid": [str(part) for part in request.options["valid"]],
        "test": [str(part) for part in request.options["test"]],
    }
    return json.dumps(splits, indent=2) + "\n"


def blend_of(request: ExportRequest) -> list[str]:
    """Weight and path in turn.

    Raises:
        ExportError: A path is missing or holds white space.
    """
    parts = []
    for domain, ratio in request.ratios.items():
        if ratio <= 0:
            continue
        path = request.path_of(domain)
        if any(character.isspace() for character in path):
            raise ExportError(
                f"Megatron splits its data arguments at white space, and the path of {domain!r} "
                f"holds some ({path!r}); move or link the data."
            )
        parts += [format_ratio(ratio), path]
    return parts


def _read_blend(parts: list[str]) -> Reading:
    return Reading(pair(parts[1::2], parts[::2], "the blend"))


def _read_per_split(text: str, _: Mapping[str, Any]) -> list[Reading]:
    train = dig(read_json(text), "train")
    if not isinstance(train, str | list):
        raise ExportError("train of the file should be a list of weights and paths.")
    return [_read_blend(train.split() if isinstance(train, str) else train)]


ARGUMENTS = Format(
    write=_write_arguments,
    read=lambda text, _: [_read_blend(text.split())],
)
"""`weight path weight path ...`: for `--data-args-path FILE`, or inline after `--data-path`."""

PER_SPLIT = Format(write=_write_per_split, read=_read_per_split, options=("valid", "test"))
"""JSON for `--per-split-data-args-path`: the blend under train, the given ones beside it.

Megatron wants all three keys; `valid` and `test` are lists of paths (or of weights and paths in
turn), and have no default, because the training data would be a wrong one.
"""
