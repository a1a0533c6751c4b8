"""nanotron config (YAML): `data_stages` with `data.dataset.dataset_folder` and `dataset_weights`.

There is one stage per phase; a stage starts at a training step, the first one at 1. Weights are
normalized and listed in the order of the folders (Nanosets).

Ratios: of tokens. Source: src/nanotron/config/config.py at commit 2411b02 (read; not run, because
the package of version 0.4 cannot be imported).
"""

from mixopt.exporters.config_io import dig, dig_list, read_yaml, zip_weights
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture


def _write(request: ExportRequest) -> str:
    seed, workers = request.int_option("seed", 42), request.int_option("num_loading_workers", 1)
    stages = []
    for phase, step in zip(request.phases, _first_steps(request), strict=True):
        weights = request.weights_by_path(phase.ratios)
        dataset = {"dataset_folder": list(weights), "dataset_weights": list(weights.values())}
        stages.append({
            "name": phase.name or "stable",
            "start_training_step": step + 1,
            "data": {"dataset": dataset, "seed": seed, "num_loading_workers": workers},
        })  # fmt: skip
    return request.to_yaml({"data_stages": stages})


def _first_steps(request: ExportRequest) -> list[int]:
    if len(request.phases) == 1:
        return [0]
    tokens = request.int_option("batch_tokens", least=1)
    too_short = f"A phase is shorter than one step of {tokens:,} tokens; lower batch_tokens."
    return request.first_steps(tokens, 1, too_short)


def _read(text: str, _: Options) -> list[ParsedMixture]:
    mixtures = []
    for stage in dig_list(read_yaml(text), "data_stages"):
        dataset = dig(stage, "data", "dataset")
        folders, shares = dig(dataset, "dataset_folder"), dig(dataset, "dataset_weights")
        weights = zip_weights(folders, shares, "dataset_folder")
        mixtures.append(ParsedMixture(weights, phase=str(dig(stage, "name"))))
    return mixtures


NANOTRON = ExportFormat(
    write=_write, read=_read, options=("batch_tokens", "seed", "num_loading_workers"), phases=True
)
"""Options: `batch_tokens` (per step; for phases), `seed` (42), `num_loading_workers` (1)."""
