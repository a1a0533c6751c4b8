"""torchtitan: a module with `mixture()`, a DatasetMixConfig over packed datasets.

Packed before they are mixed, datasets are drawn by tokens; weights must be above zero and are
normalised (read in torchtitan/components/data/README.md, commit b5bcd76c; the released package
lacks these classes, so this format is held to its text alone).
"""

from collections.abc import Mapping
from typing import Any

from mixopt.exporters.parsing import by_name, read_constants
from mixopt.exporters.request import ExportRequest, Format, Reading

TEMPLATE = '''"""Shares of tokens for torchtitan's DatasetMixConfig."""

{header}
from torchtitan.components.data import (
    ConcatThenSplitPackingConfig,
    DatasetMixConfig,
    IndexedJsonlSource,
    SingleDatasetConfig,
    WeightedDataset,
)
from torchtitan.hf_datasets.text_datasets import TextProcessor

PATHS = {paths}
WEIGHTS = {weights}


def mixture() -> DatasetMixConfig:
    """Each domain is packed before it is mixed, so that weights count tokens."""
    packed = {{
        domain: ConcatThenSplitPackingConfig(
            dataset=SingleDatasetConfig(
                source=IndexedJsonlSource.Config(patterns=(path,)),
                processor=TextProcessor.Config(text_fn=lambda row: row[{text_field!r}]),
                post_filters=(lambda sample: sample is not None,),
            )
        )
        for domain, path in PATHS.items()
    }}
    return DatasetMixConfig(
        datasets=tuple(
            WeightedDataset(dataset=packed[domain], weight=weight)
            for domain, weight in WEIGHTS.items()
        )
    )
'''


def _write(request: ExportRequest) -> str:
    return TEMPLATE.format(
        **request.python_parts(),
        text_field=str(request.options.get("text_field", "text")),
    )


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    (weights,) = read_constants(text, "WEIGHTS")
    return [Reading(by_name(weights, "WEIGHTS"))]


TORCHTITAN = Format(write=_write, read=_read, options=("text_field",))
"""A Python module with `mixture()`, over JSONL; option `text_field` (text)."""
