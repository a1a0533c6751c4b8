"""litdata and LitGPT (Python module): `load()` returns a `CombinedStreamingDataset` with `weights`.

An item of a `TokensLoader` is a block of tokens. litdata applies weights only with
`iterate_over_all=False`, as its README says since pull request 266; a pass then ends as soon as one
domain does, and a run that needs more loops over passes. The module says how many where a domain is
read more than once.

Ratios: of tokens. Source: litgpt/data/tinyllama.py at commit 26857050 (read); litdata 0.2.76, whose
streams the tests read.
"""

import math

from mixopt.exporters.config_io import read_literal, weights_by_name
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture

TEMPLATE = '''"""Shares of tokens for litdata's CombinedStreamingDataset."""

{header}
from litdata import CombinedStreamingDataset, StreamingDataset, TokensLoader

PATHS = {paths}
WEIGHTS = {weights}


def load(block_size: int = {block_size}, seed: int = {seed}) -> CombinedStreamingDataset:
    """Blocks of `block_size` tokens, drawn from the domains in the proposed ratios.

    A pass ends as soon as one domain does: loop over passes of a StreamingDataLoader, which shuffles
    each anew, until the run has read its tokens{passes}.
    """
    parts = [
        StreamingDataset(path, item_loader=TokensLoader(block_size=block_size), shuffle=True)
        for path in PATHS.values()
    ]
    return CombinedStreamingDataset(
        parts, seed=seed, weights=list(WEIGHTS.values()), iterate_over_all=False
    )
'''


def _write(request: ExportRequest) -> str:
    block_size = request.int_option("block_size", 2049, least=1)
    seed = request.int_option("seed", 42)
    most = max(request.repetition.values(), default=1.0)
    passes = f" (about {math.ceil(most)} passes)" if 1 < most < math.inf else ""
    fields = {"block_size": block_size, "seed": seed, "passes": passes}
    return request.to_python(TEMPLATE, request.ratios, by_path=True, **fields)


def _read(text: str, _: Options) -> list[ParsedMixture]:
    return [ParsedMixture(weights_by_name(read_literal(text, "WEIGHTS"), "WEIGHTS"))]


LITDATA = ExportFormat(write=_write, read=_read, options=("block_size", "seed"))
"""Options: `block_size` (2049), `seed` (42)."""
