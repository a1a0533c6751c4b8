"""Launching: one training spread over the processes that torchrun or accelerate has started.

Every process walks the same road; the first one of them alone writes. What is trained is gathered whole,
also where FSDP has cut it into shards.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a launch, as one of them sees them.

    Attributes:
        own: Number of this process; 0 leads.
        count: Of the processes.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def launched(cls, *, cpu: bool) -> "ProcessGroup":
        """The processes that a launcher has started; one alone if none has."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        from accelerate import PartialState

        state = PartialState(cpu=cpu)  # joins them: gloo on CPUs, NCCL on GPUs
        return cls(state.process_index, state.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Until all are here."""
        if self.world_size > 1:
            torch.distributed.barrier()

    def broadcast(self, value: Any) -> Any:
        """What the first process says, for all."""
        if self.world_size == 1:
            return value
        told = [value]
        torch.distributed.broadcast_object_list(told, src=0)
        return told[0]


def trained_tensors(model: "PreTrainedModel") -> Iterator[tuple[str, torch.Tensor]]:
    """Whole tensors of what is trained, by name, one after another.

    Every process of a launch must go through all of them: a tensor in shards is gathered from all.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            tensor = parameter.detach()
            yield name, tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def is_sharded(model: "PreTrainedModel") -> bool:
    """Whether no process has the whole model."""
    return any(hasattr(parameter, "full_tensor") for parameter in model.parameters())
