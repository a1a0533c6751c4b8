"""GPT-NeoX: train-data-paths and train-data-weights.

Weights share out tokens. `weight_by_num_documents` would put its own in their place and weights do
not go with train_epochs (read in megatron/data/data_utils.py, commit ea7aefd8).
"""

from collections.abc import Mapping
from typing import Any

from mixopt.errors import ExportError
from mixopt.exporters.parsing import dig, dump_yaml, pair, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Reading


def _write(request: ExportRequest) -> str:
    used = request.used(request.ratios)
    told = {
        "train-data-paths": list(used),
        "train-data-weights": list(used.values()),
        "weight_by_num_documents": False,
    }
    return request.comment() + dump_yaml(told)


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    plain = read_yaml(text)
    for name in ("weight_by_num_documents", "weight-by-num-documents"):
        if isinstance(plain, Mapping) and plain.get(name):
            raise ExportError(f"The file sets {name}, which puts other weights in place of these.")
    names = dig(plain, "train-data-paths")
    return [Reading(pair(names, dig(plain, "train-data-weights"), "train-data-paths"))]


GPT_NEOX = Format(write=_write, read=_read)
"""YAML to put beside the other config files; valid and test data are the user's."""
