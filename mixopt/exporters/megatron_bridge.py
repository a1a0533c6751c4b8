"""Megatron-Bridge and NeMo overrides (YAML): `dataset.blend` of a `ConfigContainer`.

A blend is a list of path prefixes and a list of weights above zero. One file holds one phase.

Ratios: of tokens. Source: src/megatron/bridge/data/loaders.py and recipes/utils/dataset_utils.py at
commit 067f987d (read; not run).
"""

from mixopt.exporters.config_io import dig, read_yaml, zip_weights
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture


def _write(request: ExportRequest) -> str:
    weights = request.weights_by_path()
    return request.to_yaml({"dataset": {"blend": [list(weights), list(weights.values())]}})


def _read(text: str, _: Options) -> list[ParsedMixture]:
    blend = dig(read_yaml(text), "dataset", "blend")
    return [ParsedMixture(zip_weights(dig(blend, 0), dig(blend, 1), "dataset.blend"))]


MEGATRON_BRIDGE = ExportFormat(write=_write, read=_read)
