import json

import pytest
import torch
from models_for_tests import model, save_base, tokenizer
from transformers import LlamaConfig

from mixopt.config.training import ExpertTrainingConfig
from mixopt.errors import ModelError
from mixopt.training.base_model import Base
from mixopt.training.device import Device

CPU = Device("cpu", torch.bfloat16)


def base(folder, **changes):
    told = {"path": str(folder), "context": 32, "device": CPU, "tokenizer": tokenizer()} | changes
    return Base(**told)


def test_key_goes_with_the_content_of_the_weights_and_not_with_the_place(tmp_path):
    first, second = save_base(tmp_path / "a"), save_base(tmp_path / "b")
    assert base(first).compute_key() == base(second).compute_key()
    model(seed=1).save_pretrained(second)
    assert base(first).compute_key() != base(second).compute_key()
    assert base(first, name="made-here").compute_key() == "made-here"


def test_key_stays_with_another_version_of_transformers(tmp_path, monkeypatch):
    own = save_base(tmp_path)
    key = base(own).compute_key()
    monkeypatch.setattr("transformers.configuration_utils.__version__", "99.0")
    assert base(own).compute_key() == key
    file = own / "config.json"
    plain = json.loads(file.read_text())
    plain.pop("dtype", None)
    changes = {
        "transformers_version": "4.0",
        "_name_or_path": "/elsewhere",
        "torch_dtype": "float32",
    }
    file.write_text(json.dumps(plain | changes))
    assert base(own).compute_key() == key
    file.write_text(json.dumps(plain | {"rms_norm_eps": 0.5}))
    assert base(own).compute_key() != key


def test_key_of_a_hub_id_is_its_commit():
    def key(commit, **fields):
        own = base("org/name")
        config = LlamaConfig(**fields)
        config._commit_hash = commit
        vars(own)["config"] = config
        return own.compute_key()

    assert key("a") == key("a", rms_norm_eps=0.5)
    assert key("a") != key("b")


def test_outline_has_no_weights_and_counts_them_outside_the_embeddings(tmp_path):
    own = base(save_base(tmp_path))
    assert all(parameter.is_meta for parameter in own.outline.parameters())
    network = model()
    embedding = network.get_input_embeddings().weight.numel()
    assert own.parameters == sum(p.numel() for p in network.parameters()) - embedding


def test_scored_in_the_devices_type_and_trained_in_float32(tmp_path):
    own = base(save_base(tmp_path))
    assert own.load().dtype == torch.bfloat16
    trainable = own.load_trainable(ExpertTrainingConfig(tokens=1), seed=0)
    assert {p.dtype for p in trainable.parameters()} == {torch.float32}


def test_lora_factors_are_drawn_by_the_seed_alone(tmp_path):
    own = base(save_base(tmp_path, "llama"))
    training = ExpertTrainingConfig(tokens=1, method="lora")

    def draw(seed):
        network = own.load_trainable(training, seed)
        return {name: p for name, p in network.named_parameters() if p.requires_grad}

    torch.manual_seed(5)
    first = draw(0)
    torch.manual_seed(6)
    again, other = draw(0), draw(1)
    assert first
    assert all("lora_" in name for name in first)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_lora_on_modules_that_are_not_there(tmp_path):
    training = ExpertTrainingConfig.model_validate(
        {"tokens": 1, "method": "lora", "lora": {"target_modules": ["q_prj"]}}
    )
    with pytest.raises(ModelError, match=r"fix training\.lora\.target_modules"):
        base(save_base(tmp_path)).load_trainable(training, seed=0)


def test_tokenizer_of_another_model(tmp_path):
    folder = save_base(tmp_path)
    model(vocabulary=100).save_pretrained(folder)
    with pytest.raises(ModelError, match="belong to different models"):
        base(folder).load()


def test_special_tokens_beyond_the_embedding_are_allowed(tmp_path):
    """As in Gemma 3 1B, whose tokenizer has a token of images."""
    folder = save_base(tmp_path)
    own = tokenizer()
    own.add_tokens(["<image>"], special_tokens=True)
    assert len(own) == 301
    assert base(folder, tokenizer=own).load().get_input_embeddings().weight.shape[0] == 300
    own.add_tokens(["<|user|>"])
    with pytest.raises(ModelError, match="has 302 tokens, more than the model's embedding"):
        base(folder, tokenizer=own).load()


def test_context_longer_than_the_model_can_read(tmp_path):
    with pytest.raises(ModelError, match="64"):
        _ = base(save_base(tmp_path, "gpt2"), context=128).config
