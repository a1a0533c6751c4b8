import json
import math

import numpy as np
import pytest
import torch
from models_for_tests import model, perturbed
from safetensors.torch import save_file

from mixopt.merging import merge as merge_module
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import (
    FREE_SHARE,
    ModelMerger,
    count_resident_bytes,
    merge_weights,
    warn_if_unrelated,
)


def save_full(folder, tensors):
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    return open_expert(folder)


def reference(base, experts, weights):
    """Θ_base + Σ α (Θ_k − Θ_base) in float64."""
    merged = {}
    for name, tensor in base.items():
        start = tensor.double().numpy()
        steps = [
            w * (e[name].double().numpy() - start) for w, e in zip(weights, experts, strict=True)
        ]
        merged[name] = start + np.sum(steps, axis=0)
    return merged


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_full_merge_equals_a_float64_reference(architecture, tmp_path):
    base = model(architecture)
    start = {name: p.detach().clone() for name, p in base.named_parameters()}
    moved = [perturbed(base, seed) for seed in range(3)]
    merger = ModelMerger(base, [save_full(tmp_path / str(i), m) for i, m in enumerate(moved)])
    weights = [0.2, 0.5, 0.3]
    expected = reference(start, moved, weights)
    merged = dict(merger.merge(weights).named_parameters())
    for name, tensor in expected.items():
        assert np.abs(merged[name].detach().numpy() - tensor).max() < 2e-7


def test_merges_never_drift_and_zeros_give_the_base(tmp_path):
    base = model()
    start = {name: p.detach().clone() for name, p in base.named_parameters()}
    merger = ModelMerger(base, [save_full(tmp_path / "e", perturbed(base, 1))])
    first = {n: p.detach().clone() for n, p in merger.merge([1.0]).named_parameters()}
    for weight in np.linspace(0, 1, 20):
        merger.merge([float(weight)])
    for name, p in merger.merge([1.0]).named_parameters():
        assert torch.equal(p, first[name])
    for name, p in merger.merge([0.0]).named_parameters():
        assert torch.equal(p, start[name])


def test_tied_embeddings_stay_tied(tmp_path):
    base = model("llama")
    merger = ModelMerger(base, [save_full(tmp_path / "e", perturbed(base, 1))])
    merged = merger.merge([0.7])
    assert torch.equal(merged.get_input_embeddings().weight, merged.get_output_embeddings().weight)


def test_bfloat16_base_accumulates_in_float32(tmp_path):
    base = model().to(torch.bfloat16)
    start = {name: p.detach().clone() for name, p in base.named_parameters()}
    # ten experts whose steps are each below bf16's resolution of 1.0, but not together
    tiny = {name: p.float() + 0.002 for name, p in start.items()}
    experts = [save_full(tmp_path / str(i), tiny) for i in range(4)]
    norm = "model.norm.weight"
    merged = dict(ModelMerger(base, experts).merge([1.0] * 4).named_parameters())
    assert merged[norm][0].item() == pytest.approx(1.0078125)  # the bf16 nearest to 1.008


def make_lora(base, architecture, folder, seed):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    wrapped = get_peft_model(
        base, LoraConfig(r=4, lora_alpha=6, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    for name, p in wrapped.named_parameters():
        if "lora_" in name:
            p.data.normal_(std=0.2)
    wrapped.save_pretrained(str(folder))
    return {n: p.detach().clone() for n, p in wrapped.merge_and_unload().named_parameters()}


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_lora_merge_is_the_weighted_sum_of_folded_products(architecture, tmp_path):
    """Each expert as peft itself folds it, then summed in float64: not peft's `linear`."""
    folded = [make_lora(model(architecture), architecture, tmp_path / str(s), s) for s in range(3)]
    base = model(architecture)
    start = {name: p.detach().clone() for name, p in base.named_parameters()}
    weights = [0.5, 0.2, 0.3]
    expected = reference(start, folded, weights)
    merger = ModelMerger(base, [open_expert(tmp_path / str(s)) for s in range(3)])
    for name, p in merger.merge(weights).named_parameters():
        assert np.abs(p.detach().numpy() - expected[name]).max() < 2e-6, name


def test_averaging_factors_apart_would_be_another_sum(tmp_path):
    """The trap that folding avoids, so that the test above is known to tell them apart."""
    folded = [make_lora(model(), "llama", tmp_path / str(s), s) for s in range(2)]
    start = {name: p.detach().clone() for name, p in model().named_parameters()}
    name = next(n for n in start if "q_proj" in n)
    from safetensors.torch import load_file

    factors = [load_file(tmp_path / str(s) / "adapter_model.safetensors") for s in range(2)]
    key = f"base_model.model.{name.removesuffix('.weight')}.lora_"
    a, b = (sum(f[f"{key}{side}.weight"] for f in factors) / 2 for side in "AB")
    apart = start[name] + (6 / 4) * b @ a
    right = torch.from_numpy(reference(start, folded, [0.5, 0.5])[name])
    assert (apart - right).abs().max() > 0.01


def test_step_size_by_hand(tmp_path):
    base = model()
    start = {name: p.detach().clone() for name, p in base.named_parameters()}
    doubled = {name: 2 * p for name, p in start.items()}
    assert ModelMerger(base, [save_full(tmp_path / "e", doubled)]).step_sizes() == pytest.approx(
        [0.5]
    )


def test_rank_stabilised_scale(tmp_path):
    folded = make_lora(model(), "llama", tmp_path / "e", 0)
    config = json.loads((tmp_path / "e" / "adapter_config.json").read_text())
    (tmp_path / "e" / "adapter_config.json").write_text(json.dumps(config | {"use_rslora": True}))
    base = model()
    name = next(n for n, _ in base.named_parameters() if "q_proj" in n)
    start = dict(base.named_parameters())[name].detach().clone()
    merged = dict(ModelMerger(base, [open_expert(tmp_path / "e")]).merge([1.0]).named_parameters())[
        name
    ]
    ratio = (merged - start).norm() / (folded[name] - start).norm()
    assert ratio.item() == pytest.approx(math.sqrt(4), rel=1e-4)  # α/√r against α/r at r = 4


def test_small_shares_count_more():
    assert merge_weights([0.25, 0.75], 1.0) == [0.25, 0.75]
    weights = merge_weights([0.04, 0.96], 0.5)
    assert weights == pytest.approx([0.2 / (0.2 + 0.96**0.5), 0.96**0.5 / (0.2 + 0.96**0.5)])
    assert weights[0] > 0.04


@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_experts_alone_and_the_base_stay_what_they_are(gamma):
    assert merge_weights([0, 1, 0], gamma) == [0.0, 1.0, 0.0]
    assert merge_weights([0, 0, 0], gamma) == [0.0, 0.0, 0.0]


def test_weights_stay_on_the_simplex_and_zeros_zero():
    weights = merge_weights([0.5, 0.0, 0.3, 0.2], 0.7)
    assert np.sum(weights) == pytest.approx(1)
    assert weights[1] == 0


@pytest.mark.parametrize(("size", "words"), [
    (0.0, "web is identical to the base"), (0.6, "trained from another base"), (0.1, ""),
])  # fmt: skip
def test_experts_that_are_none_are_warned_of(caplog, size, words):
    warn_if_unrelated("web", size)
    assert words in caplog.text
    assert bool(caplog.text) == bool(words)


def test_experts_are_kept_where_they_fit_in_their_own_types(tmp_path, monkeypatch):
    base = model().to(torch.bfloat16)
    numel = sum(parameter.numel() for parameter in base.parameters())
    wide = {name: tensor.float() for name, tensor in perturbed(base, 0).items()}
    narrow = {name: tensor.to(torch.bfloat16) for name, tensor in wide.items()}
    experts = [save_full(tmp_path / "wide", wide), save_full(tmp_path / "narrow", narrow)]
    make_lora(model(), "llama", tmp_path / "lora", 0)
    lora = open_expert(tmp_path / "lora")
    assert count_resident_bytes(experts) == 2 * 4 * numel  # both in float32
    assert count_resident_bytes(experts[1:]) == 2 * numel
    stacks = ModelMerger(base, experts, resident=True)._stacks.values()
    assert sum(stack.nbytes for stack in stacks) == count_resident_bytes(experts)
    factors = (tmp_path / "lora" / "adapter_model.safetensors").stat().st_size
    assert count_resident_bytes([*experts, lora]) == 2 * 4 * numel + factors
    # room for twice the base, and not for the experts
    monkeypatch.setattr(merge_module, "free_bytes", lambda _: 2 * 2 * numel / FREE_SHARE + 999)
    assert not ModelMerger(base, experts).resident
    assert ModelMerger(base, experts[1:]).resident


def test_experts_without_weight_are_not_read_where_none_is_kept(tmp_path):
    base = model()
    experts = [save_full(tmp_path / str(seed), perturbed(base, seed)) for seed in range(3)]
    weights = [0.4, 0.0, 0.3]
    kept = ModelMerger(model(), experts, resident=True).merge(weights).state_dict()
    wanted = {name: tensor.clone() for name, tensor in kept.items()}
    file = tmp_path / "1" / "model.safetensors"
    header = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    with file.open("r+b") as stream:  # NaN in every weight: a sum that read it would show it
        stream.seek(header)
        stream.write(b"\xff" * (file.stat().st_size - header))
    found = ModelMerger(model(), experts, resident=False).merge(weights).state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_a_training_released_is_free(monkeypatch):
    state = {"cached": 40, "free": 20}

    def empty():
        state["free"] += state.pop("cached")

    monkeypatch.setattr(torch.cuda, "empty_cache", empty)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (state["free"], 80))
    assert merge_module.free_bytes(torch.device("cuda")) == 60
