import pytest
import torch
from merging_for_tests import save_tensors
from models_for_tests import FAMILIES, family

from mixopt.merging.checkpoint import Checkpoint
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import ModelMerger
from mixopt.merging.tensor_names import holds_names_of, save_renamed
from mixopt.training.base_model import Layout, mergeable

RENAMED = {"mixtral", "qwen2_moe", "olmoe", "gpt_neox"}
"""Families whose files call tensors otherwise than the model in memory does."""


@pytest.mark.parametrize("name", FAMILIES)
def test_checkpoints_as_transformers_saves_them_become_experts(name, tmp_path):
    base, expert = family(name), family(name, seed=1)
    expert.save_pretrained(tmp_path / "saved")
    layout = Layout.of(base)
    assert holds_names_of(Checkpoint(tmp_path / "saved"), layout) == (name not in RENAMED)
    save_renamed(tmp_path / "saved", tmp_path / "renamed")
    assert holds_names_of(Checkpoint(tmp_path / "renamed"), layout)
    merged = ModelMerger(base, [open_expert(tmp_path / "renamed")]).merge([1.0])
    for key, tensor in mergeable(merged).items():
        assert torch.equal(tensor, mergeable(expert)[key]), key


def test_older_names_without_their_prefix(tmp_path):
    network = family("gpt2")
    plain = {n.removeprefix("transformer."): t for n, t in network.named_parameters()}
    network.config.save_pretrained(tmp_path / "old")
    save_tensors(tmp_path / "old", plain)
    assert not holds_names_of(Checkpoint(tmp_path / "old"), Layout.of(network))
    save_renamed(tmp_path / "old", tmp_path / "new")
    assert holds_names_of(Checkpoint(tmp_path / "new"), Layout.of(network))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_types_stay_as_they_were(tmp_path, dtype):
    family("mixtral").to(dtype).save_pretrained(tmp_path / "saved")
    save_renamed(tmp_path / "saved", tmp_path / "renamed")
    opened = Checkpoint(tmp_path / "renamed")
    assert {opened.dtype(name) for name in opened.names} == {dtype}
