"""Megatron-LM and Megatron-Core: weights and data prefixes, inline or as JSON per split.

Megatron draws by tokens (packed sequences) and asserts weights > 0, so zero ratios are dropped.
The file for `--data-args-path` is split at white space, so a path may hold none.
Syntax read in megatron/training/arguments.py and core/datasets/blended_dataset.py (2026-11).
"""

import json

from mixopt.errors import ExportError
from mixopt.exporters import ExportRequest, format_ratio


def export_megatron(request: ExportRequest) -> str:
    """`weight path weight path ...`: for `--data-args-path FILE`, or inline after `--data-path`."""
    return " ".join(_blend(request)) + "\n"


def export_megatron_per_split(request: ExportRequest) -> str:
    """JSON for `--per-split-data-args-path`: the blend under train, the given ones beside it.

    Megatron wants all three keys; options `valid` and `test` are lists of paths (or of weights and
    paths in turn), and have no default, because the training data would be a wrong one.
    """
    for split in ("valid", "test"):
        if not isinstance(request.options.get(split), list | tuple):
            raise ExportError(
                f"megatron-per-split needs the option {split!r}, a list of held-out data paths; "
                "give it (options: in a study, --option on the command line)."
            )
    splits = {
        "train": _blend(request),
        "valid": [str(part) for part in request.options["valid"]],
        "test": [str(part) for part in request.options["test"]],
    }
    return json.dumps(splits, indent=2) + "\n"


def _blend(request: ExportRequest) -> list[str]:
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
