"""litdata and LitGPT: a module whose `load()` combines StreamingDatasets by weights.

With a TokensLoader an item is a block of tokens, so weights share out tokens. They only count where
`iterate_over_all` is False (litdata's README was corrected to say so).
"""

from collections.abc import Mapping
from typing import Any

from mixopt.exporters.parsing import by_name, read_constants
from mixopt.exporters.request import ExportRequest, Format, Reading

TEMPLATE = '''"""Shares of tokens for litdata's CombinedStreamingDataset."""

{header}
from litdata import CombinedStreamingDataset, StreamingDataset, TokensLoader

PATHS = {paths}
WEIGHTS = {weights}


def load(block_size: int = {block_size}, seed: int = {seed}) -> CombinedStreamingDataset:
    """Blocks of `block_size` tokens, drawn from the domains in the proposed ratios."""
    parts = [
        StreamingDataset(path, item_loader=TokensLoader(block_size=block_size), shuffle=True)
        for path in PATHS.values()
    ]
    return CombinedStreamingDataset(
        parts, seed=seed, weights=list(WEIGHTS.values()), iterate_over_all=False
    )
'''


def _write(request: ExportRequest) -> str:
    return TEMPLATE.format(
        **request.python_parts(),
        block_size=request.whole("block_size", 2049, least=1),
        seed=request.whole("seed", 42),
    )


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    (weights,) = read_constants(text, "WEIGHTS")
    return [Reading(by_name(weights, "WEIGHTS"))]


LITDATA = Format(write=_write, read=_read, options=("block_size", "seed"))
"""A Python module with `load()`; options: `block_size` (2049), `seed` (42)."""
