import pytest
import torch
from merging_for_tests import save_tensors
from models_for_tests import family, model, perturbed

from mixopt.errors import ModelError
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import ModelMerger
from mixopt.training.base_model import Layout, mergeable


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


def test_vocabularies_and_layers_that_differ_are_named(tmp_path):
    base = model()
    tensors = perturbed(base, 0)
    tensors["model.embed_tokens.weight"] = torch.ones(310, 15)
    tensors["model.layers.2.mlp.up_proj.weight"] = torch.ones(32, 16)
    expert = open_expert(save_tensors(tmp_path / "e", tensors))
    with pytest.raises(ModelError) as told:
        ModelMerger(base, [expert])
    assert "model.embed_tokens.weight (310, 15) against (300, 16)" in str(told.value)
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
    with pytest.raises(
        ModelError,
        match=r"an output table of its own .lm_head.weight., and the base .* would tie its embeddings",
    ):
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
