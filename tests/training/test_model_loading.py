import json

import pytest
import torch
from models_for_tests import CONFIGS, model, save_base, tokenizer

from mixopt.config.training import BuiltBaseConfig, PretrainedBaseConfig, TrainingConfig
from mixopt.data.tokenizer import load_tokenizer
from mixopt.errors import ModelError
from mixopt.training.device import Device
from mixopt.training.model_loading import (
    build_model,
    build_on_meta,
    count_parameters,
    load_model,
    resolve_dtype,
)

CPU = Device("cpu", torch.float32)


def built(**changes):
    plain = {"kind": "build", "config": CONFIGS["llama"], "vocabulary": 300, "context": 32}
    return BuiltBaseConfig(**(plain | {"training": TrainingConfig(tokens=1000)} | changes))


def test_same_seed_same_model_and_no_global_seeding():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = build_model(built(), tokenizer(), 1), build_model(built(), tokenizer(), 1)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    other = next(build_model(built(), tokenizer(), 2).parameters())
    assert not torch.equal(next(first.parameters()), other)


def test_a_model_on_the_meta_device_has_shapes_and_no_weights():
    whole = build_model(built(), tokenizer(), 1)
    outline = build_on_meta(lambda: build_model(built(), tokenizer(), 0))
    assert all(parameter.is_meta for parameter in outline.parameters())
    shapes = [{n: p.shape for n, p in each.named_parameters()} for each in (outline, whole)]
    assert shapes[0] == shapes[1]


def test_architectures_that_cannot_be_built():
    with pytest.raises(ModelError, match="cannot build a 'lama'"):
        build_model(built(architecture="lama"), tokenizer(), 0)


def test_parameters_are_counted_alike_without_memory():
    """The Step Law's N is counted on the meta device, where every tensor has the same address."""
    for architecture in CONFIGS:
        with torch.device("meta"):
            hollow = model(architecture)
        assert count_parameters(hollow) == count_parameters(model(architecture))


def test_sequences_longer_than_the_model_has_positions_for():
    with pytest.raises(ModelError, match="base.context is 32, but the model has positions for 16"):
        build_model(
            built(config=CONFIGS["llama"] | {"max_position_embeddings": 16}), tokenizer(), 0
        )


def test_model_without_its_head_is_refused_not_drawn_at_random(tmp_path):
    network = model("qwen2")
    network.model.save_pretrained(tmp_path / "headless")
    config = json.loads((tmp_path / "headless" / "config.json").read_text())
    config["architectures"] = ["Qwen2ForCausalLM"]
    (tmp_path / "headless" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="lacks weights for lm_head.weight"):
        load_model(tmp_path / "headless", CPU)


def test_parameters_are_counted_once_when_tied():
    tied, untied = count_parameters(model("llama")), count_parameters(model("qwen2"))
    assert tied[0] - tied[1] == 300 * 16
    assert untied[0] - untied[1] == 2 * 300 * 16


@pytest.mark.parametrize("architecture", list(CONFIGS))
def test_local_folder_loads(architecture, tmp_path):
    folder = save_base(tmp_path / "base", architecture)
    assert count_parameters(load_model(folder, CPU))[0] == count_parameters(model(architecture))[0]
    assert len(load_tokenizer(folder)) == 300


def test_model_that_is_not_there_and_pickled_weights(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(tmp_path / "none", CPU)
    folder = save_base(tmp_path / "base")
    torch.save(model().state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load_model(folder, CPU)


def test_type_is_the_checkpoint_s_own(tmp_path):
    folder = save_base(tmp_path / "base")
    assert resolve_dtype(PretrainedBaseConfig(kind="pretrained", path=str(folder))) == "float32"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    assert resolve_dtype(PretrainedBaseConfig(kind="pretrained", path=str(folder))) == "bfloat16"
    given = PretrainedBaseConfig(kind="pretrained", path=str(folder), dtype="float32")
    assert resolve_dtype(given) == "float32"


@pytest.mark.parametrize("change", [
    {"hidden_size": 32}, {"vocab_size": "a"}, {"num_attention_heads": 0}, {"hidden_size": -1},
    {"hidden_act": "zz"},
])  # fmt: skip
def test_a_config_that_lies_is_an_error_of_the_input(change, tmp_path):
    folder = save_base(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=str(tmp_path)) as raised:
        load_model(folder, CPU)
    assert "\n" not in str(raised.value)


def test_a_machine_without_memory_is_no_error_of_the_input(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate ...")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(RuntimeError, match="allocate memory"):
        load_model(save_base(tmp_path), CPU)
