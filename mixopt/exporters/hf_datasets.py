"""Hugging Face datasets: a module whose `load()` interleaves the domains by documents.

`interleave_datasets` draws documents, so the ratios are converted. `first_exhausted` ends with
the first domain to run out and `all_exhausted` repeats; both keep the ratios.
`all_exhausted_without_replacement` ignores them overall and is refused.
"""

from collections.abc import Mapping

from mixopt.errors import ExportError
from mixopt.exporters import ExportRequest

STRATEGIES = ("all_exhausted", "first_exhausted")

TEMPLATE = '''"""Data mixture proposed by mixopt, as shares of documents for interleave_datasets.

Tokens: {tokens}
"""

from datasets import IterableDataset, interleave_datasets, load_dataset

PATHS = {paths}
PROBABILITIES = {probabilities}


def load(seed: int = {seed}) -> IterableDataset:
    """The domains' documents, interleaved so that tokens come in the proposed ratios."""
    parts = [
        load_dataset("{loader}", data_files=path, split="train", streaming=True)
        for path in PATHS.values()
    ]
    return interleave_datasets(
        parts,
        probabilities=list(PROBABILITIES.values()),
        seed=seed,
        stopping_strategy="{strategy}",
    )
'''


def export_hf_datasets(request: ExportRequest) -> str:
    """A Python module with `load()`; options: `loader` (json), `seed`, `stopping_strategy`.

    Raises:
        ExportError: A path is missing, tokens per document are not known, or the strategy would
            not keep the ratios.
    """
    strategy = request.options.get("stopping_strategy", "all_exhausted")
    if strategy not in STRATEGIES:
        raise ExportError(
            f"stopping_strategy {strategy!r} does not keep the ratios; use one of "
            f"{', '.join(STRATEGIES)}."
        )
    documents = {name: share for name, share in request.document_ratios().items() if share > 0}
    return TEMPLATE.format(
        tokens=", ".join(f"{name} {ratio:g}" for name, ratio in request.ratios.items()),
        paths=_literal({name: request.path_of(name) for name in documents}),
        probabilities=_literal(documents),
        loader=request.options.get("loader", "json"),
        seed=int(request.options.get("seed", 0)),
        strategy=strategy,
    )


def _literal(mapping: Mapping[str, object]) -> str:
    lines = "".join(f"    {name!r}: {value!r},\n" for name, value in mapping.items())
    return "{\n" + lines + "}"
