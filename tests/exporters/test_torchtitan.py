import ast

from plans import PROPOSAL

import mixopt

GOLDEN = '''\
"""Shares of tokens for torchtitan's DatasetMixConfig."""

# Data mixture proposed by mixopt, shares of tokens: web 0.666666667, code 0.333333333, law 0
# Times that 6,000,000 tokens read each: web 0.40, code 1.00, law 0.00

from torchtitan.components.data import (
    ConcatThenSplitPackingConfig,
    DatasetMixConfig,
    IndexedJsonlSource,
    SingleDatasetConfig,
    WeightedDataset,
)
from torchtitan.hf_datasets.text_datasets import TextProcessor

PATHS = {
    'web': '/d/web/*.jsonl',
    'code': '/d/code/*.jsonl',
}
WEIGHTS = {
    'web': 0.666666667,
    'code': 0.333333333,
}


def mixture() -> DatasetMixConfig:
    """Each domain is packed before it is mixed, so that weights count tokens."""
    packed = {
        domain: ConcatThenSplitPackingConfig(
            dataset=SingleDatasetConfig(
                source=IndexedJsonlSource.Config(patterns=(path,)),
                processor=TextProcessor.Config(text_fn=lambda row: row['body']),
                post_filters=(lambda sample: sample is not None,),
            )
        )
        for domain, path in PATHS.items()
    }
    return DatasetMixConfig(
        datasets=tuple(
            WeightedDataset(dataset=packed[domain], weight=weight)
            for domain, weight in WEIGHTS.items()
        )
    )
'''


def test_golden():
    """Packed before it is mixed, as torchtitan's README has it where weights should count tokens."""
    text = mixopt.export(PROPOSAL, "torchtitan", paths="/d/{domain}/*.jsonl", text_field="body")
    assert text == GOLDEN
    (mixture,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert mixture.name == "mixture"
