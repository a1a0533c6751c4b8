import json

import pytest
import torch
from merging_for_tests import save_tensors
from models_for_tests import family, model, perturbed

from mixopt.errors import ModelError
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import ModelMerger
from mixopt.training.base_model import Layout, mergeable


def make_lora(base, folder):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=6, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(base, config).save_pretrained(str(folder))


def test_experts_of_another_base_are_named_before_anything_is_merged(tmp_path):
    base = model()
    tensors = perturbed(base, 0)
    tensors["model.norm.weight"] = torch.ones(7)
    del tensors["model.embed_tokens.weight"]
    expert = open_expert(save_tensors(tmp_path / "e", tensors))
    with pytest.raises(
        ModelError, match=r"missing model.embed_tokens.weight; model.norm.weight \(7,\)"
    ):
        ModelMerger(base, [expert])


def test_folders_that_are_no_experts(tmp_path):
    with pytest.raises(ModelError, match="holds no weights"):
        open_expert(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00broken!!")
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        open_expert(tmp_path)


def test_adapters_that_are_more_than_lora_are_refused(tmp_path):
    make_lora(model(), tmp_path / "e")
    config = json.loads((tmp_path / "e" / "adapter_config.json").read_text())
    (tmp_path / "e" / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    with pytest.raises(ModelError, match="more than plain LoRA"):
        open_expert(tmp_path / "e")


def test_adapter_of_another_architecture_is_refused(tmp_path):
    make_lora(model("llama"), tmp_path / "e")
    with pytest.raises(ModelError, match="which this base lacks"):
        ModelMerger(model("gpt2"), [open_expert(tmp_path / "e")])


def test_vocabularies_and_layers_that_differ_are_named(tmp_path):
    base = model()
    tensors = perturbed(base, 0)
    tensors["model.embed_tokens.weight"] = torch.ones(310, 16)
    tensors["model.layers.2.mlp.up_proj.weight"] = torch.ones(32, 16)
    expert = open_expert(save_tensors(tmp_path / "e", tensors))
    with pytest.raises(ModelError) as told:
        ModelMerger(base, [expert])
    assert "model.embed_tokens.weight (310, 16) against (300, 16)" in str(told.value)
    assert "model.layers.2.mlp.up_proj.weight is none of the base's" in str(told.value)


def test_tied_tensors_under_either_name(tmp_path):
    base = model("llama")
    tensors = perturbed(base, 0)
    table = tensors.pop("model.embed_tokens.weight")
    expert = open_expert(save_tensors(tmp_path / "e", tensors | {"lm_head.weight": table}))
    merged = ModelMerger(base, [expert]).merge([1.0])
    assert torch.equal(merged.get_input_embeddings().weight, table)
    both = {"lm_head.weight": table, "model.embed_tokens.weight": table}
    open_expert(save_tensors(tmp_path / "both", tensors | both)).check(Layout.of(base))
    untied = {"lm_head.weight": table + 1, "model.embed_tokens.weight": table}
    with pytest.raises(ModelError, match="lm_head.weight is tied to another tensor"):
        open_expert(save_tensors(tmp_path / "u", tensors | untied)).check(Layout.of(base))


def test_what_older_checkpoints_store_and_models_compute_is_no_surplus(tmp_path):
    base = model("gpt2")
    extra = {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8),
        "rotary_emb.inv_freq": torch.ones(4),
    }
    tensors = perturbed(base, 0) | {"model.layers.0.rotary_emb.inv_freq": torch.ones(4)}
    tensors["transformer.h.0.attn.bias"] = extra["transformer.h.0.attn.bias"]
    open_expert(save_tensors(tmp_path / "e", tensors)).check(Layout.of(base))


def test_stored_buffers_are_merged_like_parameters(tmp_path):
    """A router's bias that is no parameter (DeepSeek's, say) moves in training too."""
    base = model()
    base.model.register_buffer("router_bias", torch.zeros(3))
    moved = perturbed(base, 0) | {"model.router_bias": torch.ones(3)}
    assert "model.router_bias" in mergeable(base)
    merger = ModelMerger(base, [open_expert(save_tensors(tmp_path / "e", moved))])
    assert merger.merge([0.25]).model.router_bias.tolist() == [0.25] * 3


@pytest.mark.parametrize("name", ["mixtral", "qwen2_moe"])
def test_routers_and_experts_of_a_mixture_of_experts_are_merged(name, tmp_path):
    base = family(name)
    start = {n: t.detach().clone() for n, t in mergeable(base).items()}
    moved = {n: t + 0.5 for n, t in start.items()}
    merger = ModelMerger(base, [open_expert(save_tensors(tmp_path / "e", moved))])
    for n, tensor in mergeable(merger.merge([0.5])).items():
        assert torch.allclose(tensor, start[n] + 0.25, atol=1e-5), n


def test_patterns_of_ranks_are_refused(tmp_path):
    make_lora(model(), tmp_path / "e")
    config = json.loads((tmp_path / "e" / "adapter_config.json").read_text())
    config["alpha_pattern"] = {"q_proj": 3}
    (tmp_path / "e" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="more than plain LoRA .alpha_pattern"):
        open_expert(tmp_path / "e")
    (tmp_path / "e" / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="not the configuration of a LoRA adapter"):
        open_expert(tmp_path / "e")


def test_a_pickled_adapter_is_refused(tmp_path):
    (tmp_path / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="pickled adapter"):
        open_expert(tmp_path)


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_adapters_whose_start_changes_the_base_are_refused(tmp_path, start):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=start)
    get_peft_model(model(), config).save_pretrained(str(tmp_path / "e"))
    with pytest.raises(ModelError, match=f"started as {start}, which changes the base"):
        open_expert(tmp_path / "e")


def test_an_adapter_of_a_compiled_model(tmp_path):
    from safetensors.torch import load_file, save_file

    base = model()
    layout, tensors = Layout.of(base), dict(mergeable(base))
    make_lora(model(), tmp_path / "e")
    file = tmp_path / "e" / "adapter_model.safetensors"
    factors = {n: torch.full_like(t, 0.5) for n, t in load_file(file).items()}
    save_file(factors, file)
    plain = open_expert(tmp_path / "e")
    expected = {name: plain.delta(name, tensor) for name, tensor in tensors.items()}
    save_file({f"_orig_mod.{name}": t for name, t in factors.items()}, file)
    compiled = open_expert(tmp_path / "e")
    compiled.check(layout)
    for name, tensor in tensors.items():
        delta = compiled.delta(name, tensor)
        assert (delta is None) == (expected[name] is None)
        assert delta is None or torch.equal(delta, expected[name])
