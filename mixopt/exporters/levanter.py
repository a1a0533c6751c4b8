"""Levanter config (YAML): `data.components`, `data.train_weights`, `data.mixture_block_size`.

These are fields of an `LmDataConfig`. Levanter normalizes the weights; a component of weight 0 is
evaluated but not trained on. Of each block of `mixture_block_size` sequences it takes ⌊weight · size⌋
from each component, and the rest from the largest: a block of another size than its default is written
where that would change a share by more than 1%. Phases are `[step, weights]` pairs. A phase must start
at a multiple of `mixture_block_size` sequences, so its first step is rounded to one.

Ratios: of tokens. Source: data/text/datasets.py and data/mixture.py (read, 2026-11); marin-levanter
0.2.20.dev, whose `LmDataConfig` the tests build.
"""

import logging
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixopt.errors import ExportError
from mixopt.exporters.config_io import dig, read_yaml, weights_by_name
from mixopt.exporters.request import (
    ExportFormat,
    ExportRequest,
    Options,
    ParsedMixture,
    positive,
)
from mixopt.io.parsing import show

log = logging.getLogger(__name__)

BLOCK = 2048
"""Levanter's default `mixture_block_size`, in sequences."""
LARGEST_BLOCK = (1 << 16) - 1
TOLERANCE = 0.01
"""Largest change of a share, relative to it, that whole sequences of a block may make."""
AT_ONCE = 1024
"""Sizes of a block that are compared at a time."""


def _write(request: ExportRequest) -> str:
    components = {
        domain: {"source": {"type": "url", "train_urls": request.paths_of(domain)}}
        for domain in request.ratios
        if any(phase.ratios[domain] for phase in request.phases)
    }
    data: dict[str, Any] = {"components": components}
    if len(request.phases) == 1:
        block = _block_of(request, 1, LARGEST_BLOCK)
        if block != BLOCK:
            data["mixture_block_size"] = block
        data["train_weights"] = {name: request.ratios[name] for name in components}
    else:
        sequences = request.int_option("batch_sequences", least=1)
        context = request.int_option("context", least=1)
        starts = [phase.first_token / context for phase in request.phases]
        block = _block_of(request, sequences, min(b - a for a, b in pairwise(starts)))
        data["mixture_block_size"] = block
        data["train_weights"] = [
            [step, {name: phase.ratios[name] for name in components}]
            for step, phase in zip(
                _first_steps(request, block, sequences, context), request.phases, strict=True
            )
        ]
    _check_shares(request, block)
    return request.to_yaml({"data": data})


def _first_steps(request: ExportRequest, block: int, sequences: int, context: int) -> list[int]:
    stride = block // math.gcd(block, sequences)  # steps that end on a block
    too_short = (
        f"A phase is shorter than {stride} steps, the resolution of mixture_block_size={block}; "
        "give a smaller mixture_block_size."
    )
    return request.first_steps(sequences * context, stride, too_short)


def _block_of(request: ExportRequest, sequences: int, shortest: float) -> int:
    """Return the size of a block: as given, the default, or one that changes no share by more than 1%.

    Args:
        request: Its shares.
        sequences: Per step.
        shortest: Sequences of the shortest phase, in which a block must end at the end of a step.
    """
    if "mixture_block_size" in request.options:
        given = request.int_option("mixture_block_size", least=1)
        if given > LARGEST_BLOCK:
            raise ExportError(
                f"Option 'mixture_block_size' is {given}, and levanter takes {LARGEST_BLOCK} at most; "
                "give a smaller one."
            )
        return given
    shares = [np.array([*positive(phase.ratios).values()]) for phase in request.phases]
    blocks = np.arange(BLOCK, LARGEST_BLOCK + 1)
    lengths = np.lcm(blocks, sequences)
    # blocks that end with a step soonest come first: phases begin there
    order = np.argsort(lengths, kind="stable")
    blocks = np.array([BLOCK, *blocks[order][lengths[order] <= shortest]])
    best, least = BLOCK, np.inf
    for start in range(0, len(blocks), AT_ONCE):
        part = blocks[start : start + AT_ONCE]
        changes = np.max([_find_change(each, part) for each in shares], axis=0)
        place = int(np.argmax(changes <= TOLERANCE))
        if changes[place] <= TOLERANCE:
            return int(part[place])
        if changes.min() < least:
            best, least = int(part[changes.argmin()]), float(changes.min())
    return best


def _count(shares: NDArray[np.float64], blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sequences in a block that levanter takes of each domain (`d x b`).

    Args:
        shares: All above zero (`d`).
        blocks: Sizes of a block (`b`).
    """
    total = sum(shares.tolist())  # in the order in which levanter adds them
    counts: NDArray[np.int64] = np.floor((shares / total)[:, None] * blocks).astype(np.int64)
    counts[counts.argmax(axis=0), np.arange(len(blocks))] += blocks - counts.sum(axis=0)
    return counts


def _find_change(shares: NDArray[np.float64], blocks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the largest relative change of a share with each size of a block (`b`)."""
    drawn = _count(shares, blocks) / blocks
    changes: NDArray[np.float64] = np.abs(drawn * shares.sum() / shares[:, None] - 1).max(axis=0)
    return changes


def _check_shares(request: ExportRequest, block: int) -> None:
    """Refuse a block without a sequence of a domain that has a share; warn where one changes much."""
    advice = "another mixture_block_size would be nearer"
    if "mixture_block_size" not in request.options:
        advice = "no mixture_block_size is nearer"
        if len(request.phases) > 1:
            advice += " and ends within the shortest phase"
    for phase in request.phases:
        shares = positive(phase.ratios)
        drawn = _draw(shares, block)
        for domain, share in shares.items():
            if drawn[domain]:
                continue
            larger = block < LARGEST_BLOCK and share * LARGEST_BLOCK >= 1
            raise ExportError(
                f"The share of {domain!r} ({share:.2g}) is below one sequence of levanter's blocks "
                f"(mixture_block_size={block}); "
                + f"give a larger block (at most {LARGEST_BLOCK}), or " * larger
                + "leave the domain out of the mixture."
            )
        worst = max(shares, key=lambda name: abs(drawn[name] / shares[name] - 1))
        if abs(drawn[worst] / shares[worst] - 1) > TOLERANCE:
            log.warning(
                "Of blocks of %d sequences levanter draws %.2g%% %s, and %.2g%% are proposed; %s.",
                block, 100 * drawn[worst], worst, 100 * shares[worst], advice,
            )  # fmt: skip


def _draw(weights: Mapping[str, float], block: int) -> dict[str, float]:
    """Return the share of each domain in a block of `block` sequences."""
    names = list(positive(weights))
    counts = _count(np.array([weights[name] for name in names]), np.array([block]))[:, 0]
    return dict.fromkeys(weights, 0.0) | dict(zip(names, (counts / block).tolist(), strict=True))


def _read(text: str, _: Options) -> list[ParsedMixture]:
    data = dig(read_yaml(text), "data")
    weights = dig(data, "train_weights")
    block = data.get("mixture_block_size", BLOCK) if isinstance(data, Mapping) else BLOCK
    if not isinstance(block, int) or not 0 < block <= LARGEST_BLOCK:
        raise ExportError(
            f"data.mixture_block_size of the file is {show(block)}; it should be a whole number from 1 "
            f"to {LARGEST_BLOCK}."
        )
    if isinstance(weights, Mapping):
        return [_parse(weights, block)]
    if not isinstance(weights, list):
        raise ExportError("data.train_weights of the file should be a mapping or a list of stages.")
    return [_parse(dig(stage, 1), block, phase=f"step {dig(stage, 0)}") for stage in weights]


def _parse(weights: Any, block: int, phase: str = "") -> ParsedMixture:
    """Return the mixture as written, or as it is drawn where that changes a share by more than 1%."""
    written = weights_by_name(weights, "train_weights")
    shares = np.array([*positive(written).values()])
    if not len(shares) or _find_change(shares, np.array([block]))[0] <= TOLERANCE:
        return ParsedMixture(written, phase=phase)
    return ParsedMixture(_draw(written, block), phase=phase)


LEVANTER = ExportFormat(
    write=_write,
    read=_read,
    options=("batch_sequences", "context", "mixture_block_size"),
    phases=True,
)
"""Options: `mixture_block_size`; for phases also `batch_sequences` (per step) and `context` (tokens)."""
