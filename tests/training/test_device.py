import pytest
import torch

from mixopt.errors import ModelError
from mixopt.training.device import Device, count_devices


def test_device_that_is_not_there():
    assert Device.choose("cpu").name == "cpu"
    assert Device.choose("auto").name in ("cpu", "cuda", "mps")
    with pytest.raises(ModelError, match="CUDA_VISIBLE_DEVICES"):
        Device.choose("cuda:1")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="'cuda' is not on this machine"):
            Device.choose("cuda")


def test_processes_that_were_launched_together_share_a_batch(monkeypatch):
    assert count_devices(Device("cpu", torch.float32)) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert count_devices(Device("cpu", torch.float32)) == 2
