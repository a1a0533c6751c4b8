import json
import struct

import pytest
import torch
from models_for_tests import model, save_base
from safetensors.torch import load_file, save_file

from mixopt.errors import ModelError
from mixopt.merging.weights_check import check_weights
from mixopt.training.base_model import Layout


def change_header(file, change):
    """Let the header of a safetensors file say something else of its first matrix."""
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    change(next(v for k, v in header.items() if k != "__metadata__" and len(v["shape"]) == 2))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


@pytest.fixture
def folder(tmp_path):
    return save_base(tmp_path)


def test_whole_weights_are_fine(folder):
    check_weights(folder, "The base", Layout.of(model()))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_numbers_that_are_none(folder, value, dtype, monkeypatch):
    monkeypatch.setattr("mixopt.merging.weights_check.CHUNK", 64)
    file = folder / "model.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
    tensors["model.layers.1.mlp.down_proj.weight"][-1, -1] = value
    save_file(tensors, file)
    with pytest.raises(ModelError, match=r"The base cannot be used: tensor 'model.layers.1.mlp.down"
                       r"_proj.weight' of .* holds NaN or infinity"):  # fmt: skip
        check_weights(folder, "The base")


def test_pickled_numbers_that_are_none(tmp_path):
    torch.save({"up.weight": torch.tensor([1.0, float("nan")])}, tmp_path / "pytorch_model.bin")
    check_weights(tmp_path, "Expert 'web'")  # not opened
    with pytest.raises(ModelError, match="Expert 'web' cannot be used: tensor 'up.weight' .* NaN"):
        check_weights(tmp_path, "Expert 'web'", allow_pickle=True)


@pytest.mark.parametrize(("change", "words"), [
    (lambda entry: entry.update(shape=entry["shape"][::-1]), "has shape"),
    (lambda entry: entry.update(shape=[entry["shape"][0] * entry["shape"][1]]), "has shape"),
    (lambda entry: entry.update(dtype="I32"), "holds torch.int32"),
    (lambda entry: entry.update(shape=[10**12, 10**3]), "not a whole safetensors file"),
    (lambda entry: entry["data_offsets"].append(entry["data_offsets"].pop() + 4), "not a whole"),
])  # fmt: skip
def test_a_header_that_lies(folder, change, words):
    change_header(folder / "model.safetensors", change)
    with pytest.raises(ModelError, match=words):
        check_weights(folder, "The base", Layout.of(model()))
