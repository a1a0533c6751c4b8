import json

import pytest
import torch
from models_for_tests import model
from safetensors.torch import save_file

from mixopt.errors import ModelError
from mixopt.merging.checkpoint import Checkpoint


def test_shards_and_one_file_hold_the_same(tmp_path):
    network = model()
    network.save_pretrained(tmp_path / "one")
    network.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    one, many = Checkpoint(tmp_path / "one"), Checkpoint(tmp_path / "many")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    assert one.names == many.names
    for name in one.names:
        assert one.shape(name) == many.shape(name)
        assert torch.equal(one.read(name), many.read(name))
        assert one.size_bytes(name) == one.read(name).nbytes
    name = "model.embed_tokens.weight"
    many.release()
    assert torch.equal(many.read(name, slice(3, 9)), one.read(name)[3:9])


def test_what_is_no_checkpoint_is_told(tmp_path):
    with pytest.raises(ModelError, match="holds no weights"):
        Checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00broken!!")
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        Checkpoint(tmp_path)


def test_a_file_cut_short(tmp_path):
    save_file({"x": torch.zeros(1000)}, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:2000])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        Checkpoint(tmp_path)


def test_shards_that_are_missing_or_lack_a_tensor(tmp_path):
    model().save_pretrained(tmp_path, max_shard_size="20KB")
    index = tmp_path / "model.safetensors.index.json"
    told = json.loads(index.read_text())
    told["weight_map"]["model.ghost"] = next(iter(told["weight_map"].values()))
    index.write_text(json.dumps(told))
    with pytest.raises(ModelError, match=r"lacks tensor 'model.ghost'"):
        Checkpoint(tmp_path)
    next(tmp_path.glob("model-00001*")).unlink()
    with pytest.raises(ModelError, match="which is not beside it"):
        Checkpoint(tmp_path)
    index.write_text("{")
    with pytest.raises(ModelError, match="no index of shards"):
        Checkpoint(tmp_path)


def test_an_index_may_not_point_elsewhere(tmp_path):
    (tmp_path / "in").mkdir()
    save_file({"x": torch.zeros(1)}, tmp_path / "outside.safetensors")
    index = {"weight_map": {"x": "../outside.safetensors"}}
    (tmp_path / "in" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="not beside it"):
        Checkpoint(tmp_path / "in")


def test_pickled_weights_are_opened_only_where_that_is_allowed(tmp_path):
    torch.save({"x": torch.arange(6.0).view(3, 2)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="may run code.*--allow-pickle"):
        Checkpoint(tmp_path)
    opened = Checkpoint(tmp_path, allow_pickle=True)
    assert opened.shape("x") == (3, 2)
    assert opened.read("x", slice(1, 2)).tolist() == [[2.0, 3.0]]


def test_types_that_cannot_be_merged(tmp_path):
    save_file({"x": torch.zeros(4).to(torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="cannot be merged"):
        Checkpoint(tmp_path).dtype("x")
