import logging

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from mixopt.config.training import LoraConfig
from mixopt.errors import ModelError
from mixopt.merging.expert import open_expert
from mixopt.training.base_model import Layout
from mixopt.training.expert_files import save_expert
from mixopt.training.lora import add_factors, warn_of_frozen_experts

SIZES = {
    "vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "moe_intermediate_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "n_group": 1, "topk_group": 1, "first_k_dense_replace": 0, "pad_token_id": None,
}  # fmt: skip


def outline(architecture):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **SIZES))


@pytest.mark.parametrize("architecture", ["olmoe", "mixtral", "qwen3_moe", "deepseek_v3"])
def test_routed_experts_are_refused_before_anything_is_trained(architecture):
    with pytest.raises(ModelError, match="mixture of experts") as error:
        add_factors(outline(architecture), LoraConfig(), 0)
    named = str(error.value).partition("such as [")[2].partition("]")[0].split(", ")
    # what the message names works
    adapted = add_factors(outline(architecture), LoraConfig(target_modules=named), 0)
    trained = {name for name, each in adapted.named_parameters() if each.requires_grad}
    assert trained
    assert all("attn" in name for name in trained)


def test_frozen_routed_experts_are_told(caplog):
    dense = add_factors(outline("llama"), LoraConfig(), 0)
    with caplog.at_level(logging.WARNING):
        warn_of_frozen_experts(dense)
        assert not caplog.text
        warn_of_frozen_experts(add_factors(outline("gpt_oss"), LoraConfig(), 0))
    assert "no factors for the routed experts of the base" in caplog.text


def test_factors_depend_on_their_seed_alone():
    def factors(seed):
        torch.manual_seed(seed + 7)
        config = AutoConfig.for_model("llama", **SIZES)
        model = add_factors(AutoModelForCausalLM.from_config(config), LoraConfig(rank=2), seed)
        return {n: p for n, p in model.named_parameters() if "lora_A" in n}

    one, same, other = factors(0), factors(0), factors(1)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("target", "tied", "what"),
    [
        ("embed_tokens", False, "input embeddings"),
        ("lm_head", True, "an output table that is tied"),
    ],
)
def test_tables_that_no_merge_can_change_are_refused(target, tied, what):
    def build(device):
        config = AutoConfig.for_model("llama", **SIZES, tie_word_embeddings=tied)
        with torch.device(device):
            return AutoModelForCausalLM.from_config(config)

    settings = LoraConfig(target_modules=["q_proj", target])
    for device in ("meta", "cpu"):
        with pytest.raises(ModelError, match=f"include {target}, {what}.*leave {target} out"):
            add_factors(build(device), settings, 0)


def test_an_output_table_of_its_own_is_adapted_and_merged(tmp_path):
    config = AutoConfig.for_model("llama", **SIZES, tie_word_embeddings=False)
    base = AutoModelForCausalLM.from_config(config)
    table = base.lm_head.weight.detach().clone()
    adapted = add_factors(base, LoraConfig(target_modules=["q_proj", "lm_head"], rank=2), 0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    save_expert(adapted, tmp_path / "ours")
    # with the base's table beside its factors
    adapted.save_pretrained(str(tmp_path / "peft"), save_embedding_layers=True)
    assert any(
        "base_layer" in n for n in load_file(tmp_path / "peft" / "adapter_model.safetensors")
    )
    expected = adapted.merge_and_unload().lm_head.weight.detach() - table
    assert expected.abs().max() > 0
    layout = Layout.of(AutoModelForCausalLM.from_config(config))
    for folder in ("ours", "peft"):
        expert = open_expert(tmp_path / folder)
        expert.check(layout)
        torch.testing.assert_close(expert.delta("lm_head.weight", table), expected)
