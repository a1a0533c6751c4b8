import torch

from mixopt.training.distributed import ProcessGroup, is_sharded, trained_tensors


def test_one_process_leads_and_waits_for_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    processes = ProcessGroup.launched(cpu=True)
    assert (processes.rank, processes.world_size, processes.is_main) == (0, 1, True)
    processes.barrier()
    assert processes.broadcast({"a": 1}) == {"a": 1}


def test_what_is_frozen_is_not_trained():
    model = torch.nn.Linear(2, 3)
    model.bias.requires_grad_(False)
    assert [name for name, _ in trained_tensors(model)] == ["weight"]
    assert not is_sharded(model)


def test_shards_are_gathered(monkeypatch):
    model = torch.nn.Linear(2, 3)
    monkeypatch.setattr(torch.Tensor, "full_tensor", lambda self: torch.ones(4), raising=False)
    assert is_sharded(model)
    assert [tensor.tolist() for _, tensor in trained_tensors(model)] == [[1.0] * 4] * 2
