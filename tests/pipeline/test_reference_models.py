import shutil

import pytest
import torch
import toy
from split_texts import perplexity_alone
from transformers import LlamaConfig, LlamaForCausalLM

from mixopt.config.loader import load_study
from mixopt.data.tokenizer import build_tokenizer
from mixopt.errors import ModelError
from mixopt.pipeline.reference_models import ReferenceModels, device_of_driver


def save_model(folder, config, seed):
    tokenizer = build_tokenizer(
        ["a bird sings in a tree"] * 9, config.base.model_copy(update={"vocabulary": 270})
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=270,
        initializer_range=0.5,
    )).save_pretrained(folder)  # fmt: skip
    tokenizer.save_pretrained(folder)
    return tokenizer


def test_perplexity_is_of_the_named_model_or_of_the_base(tmp_path):
    config = load_study(toy.write_study(tmp_path / "s"))
    tokenizers = [save_model(tmp_path / name, config, i) for i, name in enumerate(("a", "b"))]
    base = {"kind": "pretrained", "path": str(tmp_path / "a"), "context": 32}
    plain = config.model_dump(mode="json") | {"base": base}
    models = ReferenceModels(type(config).model_validate(plain), "cpu")
    named = str(tmp_path / "b")
    assert models.compute_key(None) == models.compute_key(str(tmp_path / "a"))
    assert models.compute_key(None) != models.compute_key(named)
    for path, folder, tokenizer in ((None, "a", tokenizers[0]), (named, "b", tokenizers[1])):
        model = LlamaForCausalLM.from_pretrained(tmp_path / folder)
        (value,) = models.open(path)(["a bird sings"])
        assert abs(value / perplexity_alone(model, tokenizer, "a bird sings", 32) - 1) < 1e-4


def test_a_reference_model_has_the_type_that_it_is_stored_in(tmp_path):
    config = load_study(toy.write_study(tmp_path / "s"))
    save_model(tmp_path / "a", config, 0)
    LlamaForCausalLM.from_pretrained(tmp_path / "a").bfloat16().save_pretrained(tmp_path / "half")
    save_model(tmp_path / "b", config, 1)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tmp_path / "a" / name, tmp_path / "half" / name)
    base = {"kind": "pretrained", "path": str(tmp_path / "half"), "context": 32}
    plain = config.model_dump(mode="json")

    def models(**more):
        return ReferenceModels(type(config).model_validate(plain | {"base": base | more}), "cpu")

    half = models()
    # an 8B model in float32 does not fit beside its own experts
    assert half._find(None).load().dtype == torch.bfloat16
    assert half._find(str(tmp_path / "b")).load().dtype == torch.float32
    assert models(dtype="float32")._find(None).load().dtype == torch.float32
    assert half.compute_key(None) != models(dtype="float32").compute_key(None)


def test_a_device_of_the_workers_need_not_be_here(tmp_path):
    config = load_study(toy.write_study(tmp_path))
    with pytest.raises(ModelError, match="'xla' is not on this machine"):
        device_of_driver(config, "xla")
    remote = load_study(toy.write_study(tmp_path, executor="slurm"))
    assert device_of_driver(remote, "xla") == device_of_driver(config, "auto")
