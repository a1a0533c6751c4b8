"""Checkpoints of a training by transformers' `Trainer`, so that a stop costs minutes.

The Trainer's own checkpoint holds optimizer, schedule and random states. Parameters are saved beside
it under their names in memory, because some architectures save them under other names, from which
they would not be restored.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState

from mixopt.errors import UserError
from mixopt.training.checkpointing import CheckpointManager
from mixopt.training.distributed import is_sharded, trained_tensors
from mixopt.training.expert_files import load_parameters

PARAMETERS = "parameters.safetensors"
SUMS = "sums.safetensors"
LOSSES = "losses.json"
SHARDS = "pytorch_model_fsdp*"
"""Files and folders of a checkpoint that the Trainer saves with FSDP."""


def check_shards(checkpoint: Path, name: str, *, is_sharded: bool) -> None:
    """Check that a checkpoint can be continued here: FSDP alone reads those of FSDP, and no others.

    Args:
        checkpoint: By the Trainer.
        name: Of the training.
        is_sharded: Whether this training shards the model by FSDP.

    Raises:
        UserError: It was saved with FSDP and this training goes without, or the reverse.
    """
    if any(checkpoint.glob(SHARDS)) == is_sharded:
        return
    before, now = ("without FSDP", "with it") if is_sharded else ("with FSDP", "without it")
    raise UserError(
        f"The training of {name!r} was begun {before} and cannot go on {now}; start it as it was begun, "
        f"or remove {checkpoint.parent} to train it from its first step."
    )


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Saves a checkpoint at intervals, and restores the last one when training begins.

    A step whose checkpoint is saved is logged too. The Trainer resets its running loss there, so that no
    part of the loss is lost on resuming.

    Args:
        manager: Keeps the checkpoints.
        losses: Pairs of step and loss, saved and restored with them.
        sums: Sums of averaged parameters by name, saved and restored with them; the main process's.

    Attributes:
        resumed_from: The last checkpoint, if there is one.
    """

    def __init__(
        self,
        manager: CheckpointManager,
        losses: list[tuple[int, float]],
        sums: dict[str, torch.Tensor],
    ) -> None:
        self._manager, self._losses, self._sums = manager, losses, sums
        self._began = self._last_saved = time.monotonic()
        self._first_step = self._next_look = 0
        self.resumed_from = manager.latest()

    def on_train_begin(
        self, args: Any, state: TrainerState, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Restore parameters, losses and sums of the last checkpoint."""
        self._began = self._last_saved = time.monotonic()
        self._first_step = self._next_look = state.global_step
        if self.resumed_from is None or model is None:
            return
        if not is_sharded(model):  # the Trainer restores shards itself
            load_parameters(model, load_file(self.resumed_from / PARAMETERS))
        if self._manager.processes.is_main:
            self._sums.update(load_file(self.resumed_from / SUMS))
        losses = json.loads((self.resumed_from / LOSSES).read_text())
        self._losses[:] = [(int(step), float(loss)) for step, loss in losses]

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Request a checkpoint when the interval has passed."""
        step = state.global_step
        if step < self._next_look or step >= state.max_steps:
            return
        left = self._manager.interval_s - (time.monotonic() - self._last_saved)
        seconds = (time.monotonic() - self._began) / max(1, step - self._first_step)
        # devices wait for one another where processes agree, so they do it after half of the steps that
        # seem to be left, and then of the rest
        wait = max(1, int(left / (2 * seconds))) if seconds else 1
        is_due, self._next_look = self._manager.processes.broadcast((left <= 0, step + wait))
        if is_due:
            control.should_log = control.should_save = True

    def on_save(
        self, args: Any, state: TrainerState, control: Any, model: Any = None, **_: Any
    ) -> None:
        """Complete the checkpoint that the Trainer has written."""
        processes = self._manager.processes
        folder = self._manager.folder / f"checkpoint-{state.global_step}"
        trained = trained_tensors(model)  # all processes gather shards, and the main one keeps them
        tensors = {name: t.cpu().contiguous() for name, t in trained if processes.is_main}
        processes.barrier()  # each process writes its own random state
        if processes.is_main:
            save_file(tensors, folder / PARAMETERS)
            save_file(self._sums, folder / SUMS)
            (folder / LOSSES).write_text(json.dumps(self._losses))
            self._manager.commit(folder)
        processes.barrier()
        self._last_saved = time.monotonic()
