"""Levanter config (YAML): `data.components`, `data.train_weights`, `data.mixture_block_size`.

These are fields of an `LmDataConfig`. Levanter normalizes the weights; a component of weight 0 is
evaluated but not trained on. Phases are `[step, weights]` pairs. A phase must start at a multiple of
`mixture_block_size` sequences, so its first step is rounded to one.

Ratios: of tokens. Source: data/text/datasets.py and data/mixture.py (read, 2026-11); marin-levanter
0.2.20.dev, whose `LmDataConfig` the tests build.
"""

import math
from collections.abc import Mapping
from typing import Any

from mixopt.errors import ExportError
from mixopt.exporters.config_io import dig, read_yaml, weights_by_name
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture

BLOCK = 2048
"""Levanter's default `mixture_block_size`, in sequences."""


def _write(request: ExportRequest) -> str:
    components = {
        domain: {"source": {"type": "url", "train_urls": request.paths_of(domain)}}
        for domain in request.ratios
        if any(phase.ratios[domain] for phase in request.phases)
    }
    data: dict[str, Any] = {"components": components}
    if len(request.phases) == 1:
        data["train_weights"] = {name: request.ratios[name] for name in components}
    else:
        block = request.int_option("mixture_block_size", BLOCK, least=1)
        data["mixture_block_size"] = block
        data["train_weights"] = [
            [step, {name: phase.ratios[name] for name in components}]
            for step, phase in zip(_first_steps(request, block), request.phases, strict=True)
        ]
    return request.to_yaml({"data": data})


def _first_steps(request: ExportRequest, block: int) -> list[int]:
    sequences = request.int_option("batch_sequences", least=1)
    context = request.int_option("context", least=1)
    stride = block // math.gcd(block, sequences)  # steps that end on a block
    too_short = (
        f"A phase is shorter than {stride} steps, the resolution of mixture_block_size={block}; "
        "give a smaller mixture_block_size."
    )
    return request.first_steps(sequences * context, stride, too_short)


def _read(text: str, _: Options) -> list[ParsedMixture]:
    weights = dig(read_yaml(text), "data", "train_weights")
    if isinstance(weights, Mapping):
        return [ParsedMixture(weights_by_name(weights, "train_weights"))]
    if not isinstance(weights, list):
        raise ExportError("data.train_weights of the file should be a mapping or a list of stages.")
    mixtures = []
    for stage in weights:
        ratios = weights_by_name(dig(stage, 1), "train_weights")
        mixtures.append(ParsedMixture(ratios, phase=f"step {dig(stage, 0)}"))
    return mixtures


LEVANTER = ExportFormat(
    write=_write,
    read=_read,
    options=("batch_sequences", "context", "mixture_block_size"),
    phases=True,
)
"""Options for phases: `batch_sequences` (per step), `context` (tokens), `mixture_block_size`."""
