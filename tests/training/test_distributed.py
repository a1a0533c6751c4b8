from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from mixopt.errors import RunError
from mixopt.training.distributed import (
    ProcessGroup,
    count_processes,
    is_sharded,
    trained_tensors,
)


def test_one_process_leads_and_waits_for_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    processes = ProcessGroup.launched(cpu=True)
    assert (processes.rank, processes.world_size, processes.is_main) == (0, 1, True)
    processes.barrier()
    assert processes.broadcast({"a": 1}) == {"a": 1}


def test_processes_wait_for_the_first_one_as_long_as_it_works(monkeypatch):
    given = {}

    def join(**options):
        given.update(options)
        return SimpleNamespace(process_index=1, num_processes=2)

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("accelerate.PartialState", join)
    processes = ProcessGroup.launched(cpu=True)
    assert (processes.rank, processes.world_size, count_processes()) == (1, 2, 2)
    # tokenizing a large text takes longer than the ten minutes after which NCCL gives up
    assert given["timeout"] > timedelta(days=1)


def test_shards_that_cannot_be_gathered_are_refused_at_once(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(RunError, match="--fsdp_version 2"):
        ProcessGroup.launched(cpu=True)


def test_what_is_frozen_is_not_trained():
    model = torch.nn.Linear(2, 3)
    model.bias.requires_grad_(False)
    assert [name for name, _ in trained_tensors(model)] == ["weight"]
    assert not is_sharded(model)


def test_wrappers_of_layers_are_not_in_the_names():
    plain = [torch.nn.Linear(2, 3), torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)]
    compiled = torch.compile(plain[2], backend="eager")
    model = torch.nn.Sequential(plain[0], checkpoint_wrapper(plain[1]), compiled)
    names = [f"{place}.{kind}" for place in range(3) for kind in ("weight", "bias")]
    assert [name for name, _ in model.named_parameters()] != names
    assert [name for name, _ in trained_tensors(model)] == names


def test_shards_are_gathered(monkeypatch):
    model = torch.nn.Linear(2, 3)
    monkeypatch.setattr(torch.Tensor, "full_tensor", lambda self: torch.ones(4), raising=False)
    assert is_sharded(model)
    assert [tensor.tolist() for _, tensor in trained_tensors(model)] == [[1.0] * 4] * 2
