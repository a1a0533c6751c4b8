import json
import re

import pytest
import torch
from models_for_tests import model
from safetensors.torch import save_file

from mixopt.errors import ModelError
from mixopt.merging import checkpoint as checkpoint_module
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


def test_places_without_a_model_are_told(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    for place, words in (
        (tmp_path / "nowhere", "nowhere does not exist; give the folder of a model"),
        (tmp_path / "file", "file is a file; give the folder of a model"),
        (
            tmp_path,
            "has shards .model-00001-of-00002.safetensors, .... without their model.safetensors",
        ),
    ):
        with pytest.raises(ModelError, match=words):
            Checkpoint(place)


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
    with pytest.raises(ModelError, match="can hold code.*--allow-pickle"):
        Checkpoint(tmp_path)
    opened = Checkpoint(tmp_path, allow_pickle=True)
    assert opened.shape("x") == (3, 2)
    assert opened.read("x", slice(1, 2)).tolist() == [[2.0, 3.0]]


def test_types_that_cannot_be_merged(tmp_path):
    save_file({"x": torch.zeros(4).to(torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="cannot be merged"):
        Checkpoint(tmp_path).dtype("x")


WRAPPED = {
    "compiled": lambda name: f"_orig_mod.{name}",
    "parallel": lambda name: f"module.{name}",
    "compiled in parallel": lambda name: f"module._orig_mod.{name}",
    "parallel compiled": lambda name: f"_orig_mod.module.{name}",
    "compiled layers": lambda name: re.sub(r"layers\.(\d+)\.", r"layers.\1._orig_mod.", name),
    "sharded": lambda name: f"_fsdp_wrapped_module.{name}".replace(
        "mlp.", "mlp._checkpoint_wrapped_module."
    ),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("layout", ["one", "shards", "pickled"])
def test_prefixes_of_wrappers_are_stripped(tmp_path, wrap, layout):
    tensors = {name: t.detach().clone() for name, t in model("qwen2").named_parameters()}
    names = sorted(tensors)
    stored = {wrap(name): t for name, t in tensors.items()}
    if layout == "one":
        save_file(stored, tmp_path / "model.safetensors")
    elif layout == "pickled":
        torch.save(stored, tmp_path / "pytorch_model.bin")
    else:
        halves = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
        for file, some in halves.items():
            save_file({wrap(name): tensors[name] for name in some}, tmp_path / file)
        places = {wrap(name): file for file, some in halves.items() for name in some}
        index = json.dumps({"weight_map": places})
        (tmp_path / "model.safetensors.index.json").write_text(index)
    opened = Checkpoint(tmp_path, allow_pickle=layout == "pickled")
    assert list(opened.names) == names
    for name, tensor in tensors.items():
        assert torch.equal(opened.read(name), tensor)
        assert torch.equal(opened.read(name, slice(0, 2)), tensor[:2])
        assert opened.shape(name) == tuple(tensor.shape)
        assert opened.dtype(name) == tensor.dtype


def test_names_that_only_look_wrapped(tmp_path):
    names = ["module.up.weight", "my_orig_mod.x", "head.weight"]  # `module` is a part of this model
    save_file({name: torch.ones(1) for name in names}, tmp_path / "model.safetensors")
    assert list(Checkpoint(tmp_path).names) == sorted(names)


def test_one_tensor_under_two_names(tmp_path):
    save_file({n: torch.ones(1) for n in ("x", "_orig_mod.x")}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="holds tensor 'x' twice"):
        Checkpoint(tmp_path)


def test_single_rows_are_taken_part_by_part_in_any_order(tmp_path, monkeypatch):
    table = torch.arange(40.0).view(20, 2)
    save_file({"w": table}, tmp_path / "model.safetensors")
    checkpoint, released = Checkpoint(tmp_path), []
    release = Checkpoint.release
    monkeypatch.setattr(checkpoint_module, "TAKEN_BYTES", 5 * 8)
    monkeypatch.setattr(Checkpoint, "release", lambda self: released.append(1) or release(self))
    rows = torch.tensor([19, 0, 7, 7, 1])
    assert torch.equal(checkpoint.read("w", rows), table[rows])
    assert len(released) == 3  # rows 5 to 9 are one part, 10 to 14 are not mapped
