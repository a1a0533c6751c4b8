"""One training over several processes that torchrun or accelerate has started.

All processes run the same code; only the main one (rank 0) writes. Trained tensors are gathered in
full, also where FSDP has sharded them.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from mixopt.errors import MixoptError, RunError
from mixopt.training.tensor_names import WRAPPERS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PATIENCE = timedelta(days=7)
"""How long processes wait for one another: the first one reads and tokenizes text alone."""


def count_processes() -> int:
    """Return the number of processes, each with a device, that a launcher started to train one model."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a launch.

    Attributes:
        rank: Rank of this process; 0 is the main one.
        world_size: Number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def launched(cls, *, cpu: bool) -> "ProcessGroup":
        """Return the processes that a launcher has started, or this process alone.

        Raises:
            RunError: They are to shard models by version 1 of FSDP, whose shards cannot be gathered.
        """
        if count_processes() == 1:
            return cls()
        sharded = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true")
        if sharded and os.environ.get("FSDP_VERSION", "1") != "2":
            raise RunError(
                "The processes were launched with version 1 of FSDP, whose shards are not gathered; "
                "launch them with --fsdp_version 2 (FSDP_VERSION=2)."
            )
        from accelerate import PartialState

        state = PartialState(
            cpu=cpu, timeout=PATIENCE
        )  # joins the group: gloo on CPUs, NCCL on GPUs
        return cls(state.process_index, state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes have reached this call."""
        if self.world_size > 1:
            torch.distributed.barrier()

    def abort(self, error: Exception) -> NoReturn:
        """Print an error and end this process at once; the launcher then ends the others.

        The others may wait for this process inside a training step, where nothing can be told to them.

        Args:
            error: What this process failed with.
        """
        if not isinstance(error, MixoptError):
            traceback.print_exception(error)
        print(f"mixopt: process {self.rank} of the launch failed: {error}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(getattr(error, "exit_code", 1))  # an ordinary exit waits for the others too

    def broadcast(self, value: Any) -> Any:
        """Return the main process's `value` in all processes."""
        if self.world_size == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]


def trained_tensors(model: "PreTrainedModel") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the full tensor of each trainable parameter, by its name in the model without wrappers.

    FSDP with activation checkpointing and `torch.compile` put their modules into the names; the model
    that is opened anew to save the result has none of them.

    Args:
        model: All processes of a launch must iterate to the end: shards are gathered from all of them.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            tensor = parameter.detach()
            whole = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            yield WRAPPERS.sub("", name), whole


def is_sharded(model: "PreTrainedModel") -> bool:
    """Return whether the model's parameters are sharded over processes."""
    return any(hasattr(parameter, "full_tensor") for parameter in model.parameters())
