"""TRL config (YAML for `--config`): `datasets` with `path`, `data_files`, `columns`, `fraction`, ...

These are fields of a `DatasetMixtureConfig`. TRL normalizes the fractions, which are given for all
datasets or for none, and truncates larger datasets rather than repeat smaller ones. It cannot stream
them, so the exporter writes `streaming: false`. `columns` are those that are trained on: others may
differ in type between domains, which TRL cannot concatenate.

Ratios: of documents (examples). Source: trl/scripts/utils.py and trl/trainer/sft_config.py at commit
f2cd577 (read); TRL 1.16.0,
whose parser and `get_dataset` the tests run.
"""

from mixopt.exporters.config_io import dig, dig_list, read_yaml, zip_weights
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture, positive

NOTE = """\
# Fractions are shares of examples; TRL cuts larger sets and repeats none. It also cuts each example at
# max_length (1024), which changes the shares of tokens: set packing: true with packing_strategy: wrapped
# or bfd_split, or max_length: null.
"""


def _write(request: ExportRequest) -> str:
    loader = str(request.options.get("loader", "json"))
    given = request.options.get("columns", "text")
    columns = list(map(str, given)) if isinstance(given, list | tuple) else [str(given)]
    datasets = []
    for domain, share in positive(request.document_ratios()).items():
        paths = request.paths_of(domain)
        path = request.path_of(domain) if loader == "hub" or len(paths) == 1 else paths
        place = {"path": path} if loader == "hub" else {"path": loader, "data_files": path}
        selected = {} if given is None else {"columns": [*columns]}
        datasets.append({**place, "split": "train", **selected, "fraction": share})
    return request.to_yaml({"datasets": datasets, "streaming": False}, NOTE)


def _read(text: str, _: Options) -> list[ParsedMixture]:
    datasets = dig_list(read_yaml(text), "datasets")
    files = [entry.get("data_files", dig(entry, "path")) for entry in datasets]
    names = [name[0] if isinstance(name, list) and name else name for name in files]
    weights = [dig(entry, "fraction") for entry in datasets]
    return [ParsedMixture(zip_weights(names, weights, "datasets"), "documents")]


TRL = ExportFormat(write=_write, read=_read, options=("columns", "loader"))
"""Options: `columns` (text), one or a list, None for all; `loader`: `json` (default), `parquet`, ..., or
`hub` (paths are hub datasets)."""
