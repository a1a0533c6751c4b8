"""Megatron-Bridge and NeMo: `dataset.blend` of a ConfigContainer, as its YAML overrides name it.

A blend is a list of prefixes and a list of weights, which share out tokens and are above zero
(read in src/megatron/bridge/data/loaders.py and recipes/utils/dataset_utils.py, commit 067f987d).
"""

from collections.abc import Mapping
from typing import Any

from mixopt.exporters.parsing import dig, dump_yaml, pair, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Reading


def _write(request: ExportRequest) -> str:
    used = request.used(request.ratios)
    blend = [list(used), list(used.values())]
    return request.comment() + dump_yaml({"dataset": {"blend": blend}})


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    blend = dig(read_yaml(text), "dataset", "blend")
    return [Reading(pair(dig(blend, 0), dig(blend, 1), "dataset.blend"))]


MEGATRON_BRIDGE = Format(write=_write, read=_read)
"""YAML to override a recipe with; one file per phase."""
