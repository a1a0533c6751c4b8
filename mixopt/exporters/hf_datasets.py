"""Hugging Face datasets: a module whose `load()` interleaves the domains by documents.

`interleave_datasets` draws documents, so the ratios are converted. `first_exhausted` ends with
the first domain to run out and `all_exhausted` repeats; both keep the ratios.
`all_exhausted_without_replacement` ignores them overall and is refused.
"""

from collections.abc import Mapping
from typing import Any

from mixopt.errors import ExportError
from mixopt.exporters.parsing import by_name, literal, read_constants
from mixopt.exporters.request import ExportRequest, Format, Reading

STRATEGIES = ("all_exhausted", "first_exhausted")

TEMPLATE = '''"""Shares of documents for interleave_datasets."""

{header}
from datasets import IterableDataset, interleave_datasets, load_dataset

PATHS = {paths}
PROBABILITIES = {probabilities}


def load(seed: int = {seed}) -> IterableDataset:
    """The domains' documents, interleaved so that tokens come in the proposed ratios."""
    parts = [
        load_dataset({loader!r}, data_files=path, split="train", streaming=True)
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
        raise ExportError(
            f"stopping_strategy {strategy!r} does not keep the ratios; use one of "
            f"{', '.join(STRATEGIES)}."
        )
    documents = {name: share for name, share in request.document_ratios().items() if share > 0}
    return TEMPLATE.format(
        header=request.comment(),
        paths=literal({name: request.path_of(name) for name in documents}),
        probabilities=literal(documents),
        loader=str(request.options.get("loader", "json")),
        seed=request.whole("seed", 0),
        strategy=strategy,
    )


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    (given,) = read_constants(text, "PROBABILITIES")
    return [Reading(by_name(given, "PROBABILITIES"), "documents")]


HF_DATASETS = Format(
    write=_write, read=_read, options=("loader", "seed", "stopping_strategy"), sums_to_one=True
)
"""A Python module with `load()`; options: `loader` (json), `seed`, `stopping_strategy`."""
