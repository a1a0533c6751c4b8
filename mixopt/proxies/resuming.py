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

from mixopt.units import Unit, seal

PARAMETERS = "parameters.safetensors"
SUMS = "sums.safetensors"
LOSSES = "losses.json"
NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Workplace:
    """Where a training keeps its checkpoints until it is done.

    Attributes:
        folder: Theirs.
        every_s: Seconds between them.
        kept: Is called when a checkpoint is whole.
    """

    folder: Path
    every_s: float
    kept: Callable[[], None] = field(default=lambda: None)

    def latest(self) -> Path | None:
        """The last checkpoint that is whole and undamaged."""
        found = [path for path in self.folder.glob("checkpoint-*") if NAME.fullmatch(path.name)]
        for path in sorted(found, key=_step_of, reverse=True):
            unit = Unit.read(path)
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


class Watched(Protocol):
    """What a training remembers beside what the Trainer does."""

    losses: list[tuple[int, float]]
    sums: dict[str, torch.Tensor]


class Keeper(TrainerCallback):  # type: ignore[misc]
    """Has a checkpoint written now and then, and takes one up again.

    Only where the Trainer logs: there its own sum of losses begins anew, so nothing is lost with it.
    """

    def __init__(self, workplace: Workplace, watched: Watched) -> None:
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
        load_parameters(model, load_file(self.found / PARAMETERS))
        self._watched.sums = load_file(self.found / SUMS)
        told = json.loads((self.found / LOSSES).read_text())
        self._watched.losses[:] = [(int(step), float(loss)) for step, loss in told]

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Asks for a checkpoint when it is time."""
        done = state.global_step >= state.max_steps
        if not done and time.monotonic() - self._since >= self._workplace.every_s:
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
        folder = self._workplace.folder / f"checkpoint-{state.global_step}"
        save_file(parameters_of(model), folder / PARAMETERS)
        save_file(self._watched.sums, folder / SUMS)
        (folder / LOSSES).write_text(json.dumps(self._watched.losses))
        self._workplace.finish(folder)
        self._since = time.monotonic()


def parameters_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """What is trained of a model, by the names that it has in memory."""
    return {
        name: p.detach().cpu().contiguous()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


@torch.no_grad()
def load_parameters(model: PreTrainedModel, found: Mapping[str, torch.Tensor]) -> None:
    """Puts parameters into a model in place."""
    for name, parameter in model.named_parameters():
        if name in found:
            parameter.copy_(found[name])


def _step_of(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
