"""Tell columns that trainers and trackers write about a run itself from metrics, by name."""

import re

MODEL_SIZES = ("n_params", "num_params")
WHOLE_NAMES = frozenset({
    "round", "seed", "step", "_step", "epoch", "_runtime", "_timestamp", "_wandb", "Runtime",
    "Created", "Updated", "End Time", "Start Time", "Duration", "GPU Count", "global_step", "lr",
    "learning_rate", *MODEL_SIZES, "timestamp", "runtime", "wall_time", "iteration",
})  # fmt: skip
"""Of mixopt, MLflow, W&B and trainers; also after `train/`, `eval_` and the like."""

SYSTEM = re.compile(r"^(?:system|_wandb|gpu|sys)[/.]")
"""Records of a machine, as MLflow (`system/...`) and W&B (`system.gpu.0.temp`) name them."""
RANGE = re.compile(r"__(?:MIN|MAX)$")
"""Smallest and largest value beside each metric in W&B's CSV."""
STAGE = re.compile(
    r"^(?:train|training|trainer|eval|val|validation|test|optim|throughput|perf)[/._:]"
)
TRAINER = re.compile(
    r"(?:^|[/._:])(?:runtime|(?:samples|steps|tokens)_per_second|grad_norm|learning_rate|total_flos|"
    r"model_preparation_time|jit_compilation_time|num_input_tokens_seen|mem_\w*delta)$"
)
"""Of transformers' Trainer, at the end of a name because evaluation sets come before it."""


def is_bookkeeping(name: str) -> bool:
    """Return whether a column is about the run itself: its time, machine, steps or learning rate.

    Args:
        name: The column, without a tracker's prefix (`metrics.`).
    """
    if name in WHOLE_NAMES or STAGE.sub("", name) in WHOLE_NAMES:
        return True
    return any(pattern.search(name) for pattern in (SYSTEM, RANGE, TRAINER))
