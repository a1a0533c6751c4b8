"""nanotron: `data_stages`, one for each phase, over Nanosets.

Weights share out tokens, are normalised, and stand beside the folders in the same order; stages begin
at a training step, the first at 1 (read in src/nanotron/config/config.py, commit 2411b02; its package
could not be imported, so this format is held to its text alone).
"""

from collections.abc import Mapping
from typing import Any

from mixopt.errors import ExportError
from mixopt.exporters.parsing import dig, dump_yaml, entries, pair, read_yaml
from mixopt.exporters.request import ExportRequest, Format, Part, Reading


def _write(request: ExportRequest) -> str:
    seed, workers = request.whole("seed", 42), request.whole("num_loading_workers", 1)
    stages = []
    for part, start in zip(request.parts, _starts(request), strict=True):
        used = request.used(part.ratios)
        dataset = {"dataset_folder": list(used), "dataset_weights": list(used.values())}
        stages.append({
            "name": part.name or "stable",
            "start_training_step": start,
            "data": {"dataset": dataset, "seed": seed, "num_loading_workers": workers},
        })  # fmt: skip
    return request.comment() + dump_yaml({"data_stages": stages})


def _starts(request: ExportRequest) -> list[int]:
    if len(request.parts) == 1:
        return [1]
    step = request.whole("batch_tokens", least=1)

    def first(part: Part) -> int:
        return round(part.first_token / step) + 1

    starts = [first(part) for part in request.parts]
    if sorted(set(starts)) != starts:
        raise ExportError(
            f"A phase is shorter than one step of {step:,} tokens; lower batch_tokens."
        )
    return starts


def _read(text: str, _: Mapping[str, Any]) -> list[Reading]:
    readings = []
    for stage in entries(read_yaml(text), "data_stages"):
        dataset = dig(stage, "data", "dataset")
        weights = pair(
            dig(dataset, "dataset_folder"), dig(dataset, "dataset_weights"), "the folders"
        )
        readings.append(Reading(weights, phase=str(dig(stage, "name"))))
    return readings


NANOTRON = Format(
    write=_write, read=_read, options=("batch_tokens", "seed", "num_loading_workers"), phases=True
)
"""YAML with the one key `data_stages`; for phases give `batch_tokens`, the tokens of a step."""
