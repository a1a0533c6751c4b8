"""Hugging Face datasets (Python module): `load()` calls `interleave_datasets` with `probabilities`.

The strategies `first_exhausted` (ends with the first domain that runs out) and `all_exhausted`
(repeats domains) keep the ratios; `all_exhausted_without_replacement` does not and is refused.

Ratios: of documents. Source: datasets 4 and 5, run in the tests.
"""

from mixopt.errors import ExportError
from mixopt.exporters.config_io import read_literal, weights_by_name
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture

STRATEGIES = ("all_exhausted", "first_exhausted")

TEMPLATE = '''"""Shares of documents for interleave_datasets."""

{header}
from datasets import IterableDataset, interleave_datasets, load_dataset

PATHS = {paths}
PROBABILITIES = {weights}
COLUMNS = [{field!r}]  # others may differ in type between domains, which cannot be interleaved


def load(seed: int = {seed}) -> IterableDataset:
    """The domains' documents, interleaved so that tokens come in the proposed ratios."""
    parts = [
        load_dataset({loader!r}, data_files=path, split="train", streaming=True).select_columns(COLUMNS)
        for path in PATHS.values()
    ]
    return interleave_datasets(
        parts,
        probabilities=list(PROBABILITIES.values()),
        seed=seed,
        stopping_strategy={strategy!r},
    )
'''


def _write(request: ExportRequest) -> str:
    strategy = request.options.get("stopping_strategy", "all_exhausted")
    if strategy not in STRATEGIES:
        known = " or ".join(STRATEGIES)
        raise ExportError(f"stopping_strategy {strategy!r} does not keep the ratios; use {known}.")
    loader = str(request.options.get("loader", "json"))
    field = str(request.options.get("field", "text"))
    fields = {
        "loader": loader,
        "field": field,
        "seed": request.int_option("seed", 0),
        "strategy": strategy,
    }
    return request.to_python(TEMPLATE, request.document_ratios(), **fields)


def _read(text: str, _: Options) -> list[ParsedMixture]:
    weights = weights_by_name(read_literal(text, "PROBABILITIES"), "PROBABILITIES")
    return [ParsedMixture(weights, "documents")]


HF_DATASETS = ExportFormat(
    write=_write,
    read=_read,
    options=("field", "loader", "seed", "stopping_strategy"),
    sums_to_one=True,
)
"""Options: `field` (text), `loader` (json), `seed` (0), `stopping_strategy` (all_exhausted)."""
