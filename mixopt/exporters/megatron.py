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
    """JSON for `--per-split-data-args-path`: the blend under train, and the same to validate.

    All three keys must be there; pass `valid=` and `test=` (lists of paths) to change theirs.
    """
    blend = _blend(request)
    splits = {
        "train": blend,
        "valid": list(request.options.get("valid", blend)),
        "test": list(request.options.get("test", blend)),
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
