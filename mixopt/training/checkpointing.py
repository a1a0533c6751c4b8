"""Resuming: checkpoints of a training that is going on, so that a stop costs minutes.

The Trainer's own checkpoint holds optimiser, schedule and random states. Parameters are kept beside it
as they live: those of some architectures are saved under other names, and would not be found again.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from mixopt.artifacts.artifact import ArtifactRecord, seal
from mixopt.training.distributed import ProcessGroup, is_sharded, trained_tensors

PARAMETERS = "parameters.safetensors"
SUMS = "sums.safetensors"
LOSSES = "losses.json"
NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class CheckpointManager:
    """Where a training keeps its checkpoints until it is done.

    Attributes:
        folder: Theirs.
        every_s: Seconds between them.
        kept: Is called when a checkpoint is whole.
        processes: The processes that train together, of which the first alone writes.
    """

    folder: Path
    every_s: float
    kept: Callable[[], None] = field(default=lambda: None)
    processes: ProcessGroup = ProcessGroup()

    def latest(self) -> Path | None:
        """The last checkpoint that is whole and undamaged."""
        found = [path for path in self.folder.glob("checkpoint-*") if NAME.fullmatch(path.name)]
        for path in sorted(found, key=_step_of, reverse=True):
            unit = ArtifactRecord.read(path)
            if unit is not None and unit.find_damage() is None:
                return path
        return None

    def finish(self, checkpoint: Path) -> None:
        """Makes a checkpoint count, and drops those before it."""
        seal(checkpoint, {}, 0.0)
        for path in self.folder.glob("checkpoint-*"):
            if path != checkpoint:
                shutil.rmtree(path, ignore_errors=True)
        self.kept()


class ResumableState(Protocol):
    """What a training remembers beside what the Trainer does."""

    losses: list[tuple[int, float]]
    sums: dict[str, torch.Tensor]


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Has a checkpoint written now and then, and takes one up again.

    Only where the Trainer logs: there its own sum of losses begins anew, so nothing is lost with it.
    """

    def __init__(self, workplace: CheckpointManager, watched: ResumableState) -> None:
        self._workplace, self._watched = workplace, watched
        self._since = time.monotonic()
        self.found = workplace.latest()

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel | None = None,
        **_: Any,
    ) -> None:
        """Puts back what the checkpoint that was found remembers."""
        self._since = time.monotonic()
        if self.found is None or model is None:
            return
        if not is_sharded(model):  # the Trainer has put shards back itself
            load_parameters(model, load_file(self.found / PARAMETERS))
        self._watched.sums = load_file(self.found / SUMS)
        told = json.loads((self.found / LOSSES).read_text())
        self._watched.losses[:] = [(int(step), float(loss)) for step, loss in told]

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Asks for a checkpoint when it is time."""
        due = time.monotonic() - self._since >= self._workplace.every_s
        if self._workplace.processes.broadcast(due) and state.global_step < state.max_steps:
            control.should_save = True

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel | None = None,
        **_: Any,
    ) -> None:
        """Completes the checkpoint that the Trainer has written."""
        assert model is not None
        processes, folder = (
            self._workplace.processes,
            self._workplace.folder / f"checkpoint-{state.global_step}",
        )
        whole = {name: tensor.cpu().contiguous() for name, tensor in trained_tensors(model)}
        processes.barrier()  # each process writes its own random state
        if processes.is_main:
            save_file(whole, folder / PARAMETERS)
            save_file(self._watched.sums, folder / SUMS)
            (folder / LOSSES).write_text(json.dumps(self._watched.losses))
            self._workplace.finish(folder)
        processes.barrier()
        self._since = time.monotonic()


@torch.no_grad()
def load_parameters(model: PreTrainedModel, found: Mapping[str, torch.Tensor]) -> None:
    """Puts parameters into a model in place."""
    for name, parameter in model.named_parameters():
        if name in found:
            parameter.copy_(found[name])


def _step_of(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
