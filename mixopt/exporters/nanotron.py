"""nanotron config (YAML): `data_stages` with `data.dataset.dataset_folder` and `dataset_weights`.

There is one stage per phase; a stage starts at a training step, the first one at 1. Weights are
normalized and listed in the order of the folders (Nanosets). nanotron loads the data of the last stage
alone, and starts a stage from a checkpoint whose metadata names those before. So a file per phase holds
the stages up to its own.

Ratios: of tokens. Source: run_train.py, src/nanotron/trainer.py and src/nanotron/config/config.py at
commit 2411b02 (read; not run, because the package of version 0.4 cannot be imported).
"""

from mixopt.exporters.config_io import dig, dig_list, read_yaml, zip_weights
from mixopt.exporters.request import ExportFormat, ExportRequest, Options, ParsedMixture


def _write(request: ExportRequest) -> str:
    seed, workers = request.int_option("seed", 42), request.int_option("num_loading_workers", 1)
    stages = []
    steps = _first_steps(request)
    for phase, step in zip(request.phases, steps, strict=True):
        weights = request.weights_by_path(phase.ratios)
        dataset = {"dataset_folder": list(weights), "dataset_weights": list(weights.values())}
        stages.append({
            "name": phase.name or "stable",
            "start_training_step": step + 1,
            "data": {"dataset": dataset, "seed": seed, "num_loading_workers": workers},
        })  # fmt: skip
    return request.to_yaml({"data_stages": stages}, _describe_start(request, steps[-1]))


def _describe_start(request: ExportRequest, step: int) -> str:
    """Return comment lines that say from where to where this file trains; none without phases."""
    last = request.phases[-1]
    lines = []
    if step:
        lines += [
            f"nanotron loads the last stage's data alone: start at the checkpoint of step {step},",
            "and train the stages before it by files of their own ({phase} in the file name).",
        ]
    if last.name and last.tokens and "batch_tokens" in request.options:
        tokens = request.int_option("batch_tokens", least=1)
        end = round((last.first_token + last.tokens) / tokens)
        lines.append(f"The last stage ends at step {end}: tokens.train_steps of this file.")
    return "".join(f"# {line}\n" for line in lines)


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
    write=_write,
    read=_read,
    options=("batch_tokens", "seed", "num_loading_workers"),
    phases=True,
    cumulative=True,
)
"""Options: `batch_tokens` (per step; for phases), `seed` (42), `num_loading_workers` (1)."""
