"""torchtitan (Python module): `mixture()` returns a `DatasetMixConfig` of packed datasets.

Each dataset (JSONL) is packed before mixing, so that weights count tokens; mixed before packing, they
would count documents. Weights must be above zero and are normalized.

Ratios: of tokens. Source: torchtitan/components/data/README.md at commit b5bcd76c (read; not run,
because release 0.3.0 lacks these classes).
"""

from mixopt.exporters.config_io import read_literal, weights_by_name
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture, positive

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
                source=IndexedJsonlSource.Config(patterns={patterns}),
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
    text_field = str(request.options.get("text_field", "text"))
    several = any(len(request.paths_of(domain)) > 1 for domain in positive(request.ratios))
    patterns = "tuple([path] if isinstance(path, str) else path)" if several else "(path,)"
    return request.to_python(TEMPLATE, request.ratios, text_field=text_field, patterns=patterns)


def _read(text: str, _: Options) -> list[ParsedMixture]:
    return [ParsedMixture(weights_by_name(read_literal(text, "WEIGHTS"), "WEIGHTS"))]


TORCHTITAN = ExportFormat(write=_write, read=_read, options=("text_field",))
"""Option: `text_field` (text)."""
