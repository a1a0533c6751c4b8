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


def test_a_device_of_the_workers_need_not_be_here(tmp_path):
    config = load_study(toy.write_study(tmp_path))
    with pytest.raises(ModelError, match="'xla' is not on this machine"):
        device_of_driver(config, "xla")
    remote = load_study(toy.write_study(tmp_path, executor="slurm"))
    assert device_of_driver(remote, "xla") == device_of_driver(config, "auto")
