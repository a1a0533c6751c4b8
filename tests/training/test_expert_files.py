import pytest
import torch
from models_for_tests import model
from safetensors.torch import load_file
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from mixopt.errors import ModelError
from mixopt.training.expert_files import load_expert, load_parameters, save_expert


def test_expert_is_saved_in_float32_whatever_it_was_trained_in(tmp_path):
    network = model().to(torch.bfloat16)
    save_expert(network, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert set(tensors) == {name for name, _ in network.named_parameters()}


def test_an_expert_is_loaded_into_a_model_of_its_kind(tmp_path):
    trained, again = model(), model()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1.0)
    save_expert(trained, tmp_path)
    load_expert(again, tmp_path)
    for name, tensor in trained.named_parameters():
        assert torch.equal(dict(again.named_parameters())[name], tensor), name


def test_parameters_without_a_tensor_stay():
    layer = torch.nn.Linear(2, 2)
    weight = layer.weight.detach().clone()
    load_parameters(layer, {"bias": torch.tensor([1.0, 2.0])})
    assert layer.bias.tolist() == [1, 2]
    assert torch.equal(layer.weight, weight)
    with pytest.raises(RuntimeError):
        load_parameters(layer, {"bias": torch.ones(3)})


def test_tensors_that_the_model_has_not_are_refused():
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(
        ModelError, match="1 of 2 trained tensors are not in the model, such as 'inner"
    ):
        load_parameters(layer, {"bias": torch.ones(2), "inner.weight": torch.ones(2, 2)})
    assert layer.bias.tolist() != [1, 1]


def test_layers_may_be_wrapped(tmp_path):
    trained, again = model(), model()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1.0)
    expected = {name: tensor.detach().clone() for name, tensor in trained.named_parameters()}
    for network in (trained, again):
        layers = network.model.layers
        layers[0] = checkpoint_wrapper(layers[0])
    save_expert(trained, tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == expected.keys()
    load_expert(again, tmp_path)
    for own, tensor in zip(again.parameters(), trained.parameters(), strict=True):
        assert torch.equal(own, tensor)
