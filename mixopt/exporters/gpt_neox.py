"""GPT-NeoX config (YAML): `train-data-paths`, `train-data-weights`, `weight_by_num_documents: false`.

`weight_by_num_documents` would replace the weights, and weights cannot be combined with
`train_epochs`. GPT-NeoX takes paths of training, validation and test data together, and no `data_path`
beside them.

Ratios: of tokens. Source: megatron/data/data_utils.py and megatron/neox_arguments/arguments.py at
commit ea7aefd8 (read; not run).
"""

from collections.abc import Mapping

from mixopt.errors import ExportError
from mixopt.exporters.config_io import dig, read_yaml, zip_weights
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture
from mixopt.io.parsing import show

NOTE = """\
# GPT-NeoX takes these with valid-data-paths and test-data-paths alone (--option valid=... test=...), and
# with no data_path: remove that from the run's other configs.
"""


def _write(request: ExportRequest) -> str:
    weights = request.weights_by_path()
    config = {
        "train-data-paths": list(weights),
        "train-data-weights": list(weights.values()),
        "weight_by_num_documents": False,
    }
    for split in ("valid", "test"):
        given = request.options.get(split)
        if given is not None:
            config[f"{split}-data-paths"] = _list_paths(split, given)
    return request.to_yaml(config, NOTE)


def _list_paths(split: str, given: object) -> list[str]:
    if not isinstance(given, list | tuple) or not given:
        raise ExportError(
            f"Option {split!r} is {show(given)}; give a list of paths of held-out data."
        )
    return [str(path) for path in given]


def _read(text: str, _: Options) -> list[ParsedMixture]:
    config = read_yaml(text)
    for name in ("weight_by_num_documents", "weight-by-num-documents"):
        if isinstance(config, Mapping) and config.get(name):
            raise ExportError(f"The file sets {name}, which replaces these weights; remove it.")
    paths, weights = dig(config, "train-data-paths"), dig(config, "train-data-weights")
    return [ParsedMixture(zip_weights(paths, weights, "train-data-paths"))]


GPT_NEOX = ExportFormat(write=_write, read=_read, options=("valid", "test"))
"""Options: `valid` and `test`, lists of paths of held-out data, which the trainer needs too."""
