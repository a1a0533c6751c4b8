"""GPT-NeoX config (YAML): `train-data-paths`, `train-data-weights`, `weight_by_num_documents: false`.

`weight_by_num_documents` would replace the weights, and weights cannot be combined with
`train_epochs`. Validation and test data are left to the user's other config files.

Ratios: of tokens. Source: megatron/data/data_utils.py at commit ea7aefd8 (read; not run).
"""

from collections.abc import Mapping

from mixopt.errors import ExportError
from mixopt.exporters.config_io import dig, read_yaml, zip_weights
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture


def _write(request: ExportRequest) -> str:
    weights = request.weights_by_path()
    return request.to_yaml({
        "train-data-paths": list(weights),
        "train-data-weights": list(weights.values()),
        "weight_by_num_documents": False,
    })  # fmt: skip


def _read(text: str, _: Options) -> list[ParsedMixture]:
    config = read_yaml(text)
    for name in ("weight_by_num_documents", "weight-by-num-documents"):
        if isinstance(config, Mapping) and config.get(name):
            raise ExportError(f"The file sets {name}, which replaces these weights; remove it.")
    paths, weights = dig(config, "train-data-paths"), dig(config, "train-data-weights")
    return [ParsedMixture(zip_weights(paths, weights, "train-data-paths"))]


GPT_NEOX = ExportFormat(write=_write, read=_read)
