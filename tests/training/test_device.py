import pytest
import torch

from mixopt.errors import ModelError
from mixopt.training.device import Device


def test_device_that_is_not_there():
    assert Device.choose("cpu").name == "cpu"
    assert Device.choose("auto").name in ("cpu", "cuda", "mps")
    with pytest.raises(ModelError, match="CUDA_VISIBLE_DEVICES"):
        Device.choose("cuda:1")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="'cuda' is not on this machine"):
            Device.choose("cuda")
