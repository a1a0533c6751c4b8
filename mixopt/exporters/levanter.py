"""Levanter (marin-levanter): the components and train_weights of an `LmDataConfig`.

Weights share out tokens and are normalised; a component of weight 0 is evaluated on alone. Phases are
`[step, weights]` pairs, and a phase must begin at a multiple of `mixture_block_size` sequences, so
its first step is rounded to one (read in data/text/datasets.py and data/mixture.py and run, 2026-11).
"""

import math
from collections.abc import Mapping
from typing import Any

from mixopt.errors import ExportError
from mixopt.exporters.parsing import by_name, dig, dump_yaml, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Part, Reading

BLOCK = 2048
"""Levanter's default mixture_block_size: sequences."""


def _write(request: ExportRequest) -> str:
    components = {
        domain: {"source": {"type": "url", "train_urls": [request.path_of(domain)]}}
        for domain in request.ratios
        if any(part.ratios[domain] for part in request.parts)
    }
    data: dict[str, Any] = {"components": components}
    if len(request.parts) == 1:
        data["train_weights"] = {name: request.ratios[name] for name in components}
    else:
        block = request.whole("mixture_block_size", BLOCK, least=1)
        data["mixture_block_size"] = block
        data["train_weights"] = [
            [step, {name: part.ratios[name] for name in components}]
            for step, part in zip(_first_steps(request, block), request.parts, strict=True)
        ]
    return request.comment() + dump_yaml({"data": data})


def _first_steps(request: ExportRequest, block: int) -> list[int]:
    """The step that each phase begins with, whole blocks of sequences from the start.

    Raises:
        ExportError: Sequences per step or tokens per sequence are missing, or a phase is too short.
    """
    sequences = request.whole("batch_sequences", least=1)
    context = request.whole("context", least=1)
    stride = block // math.gcd(block, sequences)  # steps that end on a block
    steps = [_round(part, sequences * context, stride) for part in request.parts]
    if sorted(set(steps)) != steps:
        raise ExportError(
            f"A phase is shorter than {stride} steps, the least that mixture_block_size={block} can "
            "tell apart; give a smaller mixture_block_size."
        )
    return steps


def _round(part: Part, tokens_per_step: int, stride: int) -> int:
    return round(part.first_token / tokens_per_step / stride) * stride


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    weights = dig(read_yaml(text), "data", "train_weights")
    if isinstance(weights, Mapping):
        return [Reading(by_name(weights, "train_weights"))]
    if not isinstance(weights, list):
        raise ExportError("data.train_weights of the file should be a mapping or a list of stages.")
    return [
        Reading(by_name(dig(stage, 1), "train_weights"), phase=f"step {dig(stage, 0)}")
        for stage in weights
    ]


LEVANTER = Format(
    write=_write,
    read=_read,
    options=("batch_sequences", "context", "mixture_block_size"),
    phases=True,
)
"""YAML with the one key `data`; for phases give `batch_sequences` (a step) and `context` (tokens)."""
