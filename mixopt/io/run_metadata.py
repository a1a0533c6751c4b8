"""Tell columns that trainers and trackers write about a run itself from metrics, by name."""

import re

MODEL_SIZES = ("n_params", "num_params")
WHOLE_NAMES = frozenset({
    "round", "seed", "step", "_step", "epoch", "_runtime", "_timestamp", "_wandb", "runtime",
    "created", "updated", "end time", "start time", "duration", "gpu count", "global_step", "lr",
    "learning_rate", *MODEL_SIZES, "timestamp", "wall_time", "iteration", "throughput", "pid",
    "tps", "mfu", "tflops", "time",
})  # fmt: skip
"""Of mixopt, MLflow, W&B, Ray Tune and trainers; also after `train/`, `eval_` and the like."""

SYSTEM = re.compile(
    r"^(?:(?:system|_wandb|gpu|sys)[/.]|(?:throughput|time|time_metrics|memory|wall_clock|timers?)/)"
)
"""Records of a machine, as MLflow (`system/...`) and W&B (`system.gpu.0.temp`) name them, and what
Composer, OLMo and torchtitan measure of time and memory (`throughput/...`)."""
RANGE = re.compile(r"__(?:min|max)$")
"""Smallest and largest value beside each metric in W&B's CSV."""
STAGE = re.compile(
    r"^(?:train|training|trainer|eval|val|validation|test|optim|throughput|perf)[/._:]"
)
TRAINER = re.compile(
    r"(?:^|[/._:])(?:runtime|(?:samples|steps|tokens|batches)_per_sec(?:ond)?(?:_per_gpu)?|(?:total_)?grad_norm|"
    r"params_norm|num_zeros|loss_scale|learning_rate(?:_group\d+)?|lr_\w+(?:/group\d+)?|total_flos|"
    r"model_preparation_time|jit_compilation_time|num_input_tokens_seen|(?:num|total|consumed)_tokens|"
    r"consumed_samples|mem_\w*delta|(?:global_|micro_)?batch_size|world_size|microbatch_size|"
    r"device_train_microbatch_size|iteration_time|elapsed_time_per_iteration_ms|"
    r"time_(?:this_iter_s|total_s|since_restore)|iterations_since_restore|training_iteration|"
    r"(?:model_|hardware_)?tflops_per_gpu)$"
)
"""Of Trainer, TRL, Megatron, nanotron, OLMo, Composer and Ray Tune, at the end of a name because
evaluation sets come before it; without case, and with `_` for `-` and spaces."""
UNIT = re.compile(r"\s*\([^()]*\)$")
"""Unit after a name (`throughput(tps)`)."""


def is_run_metadata(name: str) -> bool:
    """Return whether a column is about the run itself: its time, machine, steps or learning rate.

    Args:
        name: The column, without a tracker's prefix (`metrics.`).
    """
    plain = UNIT.sub("", name).lower()
    if plain in WHOLE_NAMES or STAGE.sub("", plain) in WHOLE_NAMES:
        return True
    joined = re.sub("[- ]", "_", plain)
    return any(pattern.search(joined) for pattern in (SYSTEM, RANGE, TRAINER))
