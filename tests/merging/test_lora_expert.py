import json
from pathlib import Path

import pytest
import torch
from models_for_tests import family, model
from safetensors.torch import load_file, save_file

from mixopt.errors import ModelError
from mixopt.merging.expert import open_expert
from mixopt.merging.full_precision import require_full_precision
from mixopt.merging.merge import ModelMerger
from mixopt.merging.origin_warnings import warn_of_origin
from mixopt.merging.to_disk import merge_to_disk
from mixopt.merging.weights_check import check_weights
from mixopt.training.base_model import Layout, mergeable


def make_lora(base, folder, **more):
    from peft import LoraConfig, get_peft_model

    fields = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    config = LoraConfig(**fields, **more)
    get_peft_model(base, config).save_pretrained(str(folder))


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


def test_an_adapter_of_a_tied_head_is_refused_by_its_name(tmp_path):
    make_lora(model("llama"), tmp_path / "e")
    file = tmp_path / "e" / "adapter_model.safetensors"
    factors = load_file(file)
    factors["base_model.model.lm_head.lora_A.weight"] = torch.zeros(4, 16)
    factors["base_model.model.lm_head.lora_B.weight"] = torch.zeros(300, 4)
    save_file(factors, file)
    words = "lm_head.weight, and this base has its input embeddings in its place"
    with pytest.raises(ModelError, match=words):
        open_expert(tmp_path / "e").check(Layout.of(model("llama")))
    model("llama").save_pretrained(tmp_path / "base")
    with pytest.raises(ModelError, match=words):
        merge_to_disk(tmp_path / "base", {tmp_path / "e": 0.5}, tmp_path / "out")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="maps of Linux")
def test_a_released_adapter_is_unmapped_and_read_again(tmp_path):
    make_lora(model(), tmp_path / "e")
    expert = open_expert(tmp_path / "e")
    layout = Layout.of(model())
    expert.check(layout)
    name = next(name for name in layout.shapes if expert.factors(name, torch.device("cpu")))
    before = [factor.clone() for factor in expert.factors(name, torch.device("cpu"))]
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    expert.release()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    for one, other in zip(before, expert.factors(name, torch.device("cpu")), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
        ({"alora_invocation_tokens": [5, 6]}, "alora_invocation_tokens"),
        ({"peft_type": "LOHA"}, "peft_type 'LOHA'"),
    ],
)
def test_settings_beyond_plain_lora_are_refused(tmp_path, more, told):
    make_lora(model(), tmp_path / "e")
    config = json.loads((tmp_path / "e" / "adapter_config.json").read_text()) | more
    (tmp_path / "e" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"more than plain LoRA .{told}"):
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


def filled(folder, base, value=0.5, **more):
    """An adapter of the base whose factors are all one number."""
    make_lora(base, folder, **more)
    file = folder / "adapter_model.safetensors"
    save_file({n: torch.full_like(t, value) for n, t in load_file(file).items()}, file)
    return file


def deltas(folder, base, **options):
    expert = open_expert(folder, **options)
    expert.check(Layout.of(base))
    return {name: expert.delta(name, tensor) for name, tensor in mergeable(base).items()}


def same(one, other):
    return all(
        (one[name] is None) == (other[name] is None)
        and (one[name] is None or torch.equal(one[name], other[name]))
        for name in one
    )


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name.replace("lora_A.weight", "lora_A.default.weight").replace(
            "lora_B.weight", "lora_B.default.weight"
        ),
        lambda name: name.replace("base_model.model.model.", "base_model.model."),
        lambda name: name.replace("model.model.", "model.model.language_model."),
        lambda name: f"module.{name}",
    ],
    ids=["named adapter", "without the body's name", "text model of a larger one", "wrapper"],
)
def test_factors_under_other_names(tmp_path, rename):
    base = model()
    file = filled(tmp_path / "e", model())
    expected = deltas(tmp_path / "e", base)
    assert any(delta is not None for delta in expected.values())
    save_file({rename(n): t for n, t in load_file(file).items()}, file)
    assert same(deltas(tmp_path / "e", base), expected)


def test_a_pickled_adapter_is_opened_where_that_is_allowed(tmp_path, caplog):
    base = model()
    file = filled(tmp_path / "e", model())
    expected = deltas(tmp_path / "e", base)
    factors = load_file(file)
    torch.save(factors, tmp_path / "e" / "adapter_model.bin")
    file.unlink()
    with pytest.raises(ModelError, match="pass --allow-pickle"):
        open_expert(tmp_path / "e")
    assert same(deltas(tmp_path / "e", base, allow_pickle=True), expected)
    base.save_pretrained(tmp_path / "base")
    out = merge_to_disk(
        tmp_path / "base", {tmp_path / "e": 1.0}, tmp_path / "out", allow_pickle=True
    )
    written = load_file(out / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.allclose(written[name], mergeable(base)[name] + expected[name], atol=1e-6)
    warn_of_origin(tmp_path / "e", tmp_path / "base", "someone/other")
    check_weights(tmp_path / "e", "The expert", allow_pickle=True)
    factors["base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"][0, 0] = float("nan")
    torch.save(factors, tmp_path / "e" / "adapter_model.bin")
    with pytest.raises(ModelError, match="NaN or infinity"):
        check_weights(tmp_path / "e", "The expert", allow_pickle=True)
    torch.save(
        {n: t.to(torch.int8) for n, t in factors.items()}, tmp_path / "e" / "adapter_model.bin"
    )
    with pytest.raises(ModelError, match="is quantized"):
        require_full_precision(tmp_path / "e", "The expert", allow_pickle=True)
    require_full_precision(tmp_path / "e", "The expert")  # opened by nobody


def test_an_adapter_of_the_first_gpt2(tmp_path):
    """The hub's GPT-2 has no `transformer.` before its names, and masks that models compute."""
    network = family("gpt2")
    network.save_pretrained(tmp_path / "plain")
    tensors = load_file(tmp_path / "plain" / "model.safetensors")
    network.save_pretrained(tmp_path / "hub")
    plain = {n.removeprefix("transformer."): t for n, t in tensors.items()}
    plain["h.0.attn.bias"] = torch.tril(torch.ones(1, 1, 8, 8))
    save_file(plain, tmp_path / "hub" / "model.safetensors", metadata={"format": "pt"})
    filled(tmp_path / "e", family("gpt2"), fan_in_fan_out=True)
    moved = {n: t + 0.25 for n, t in tensors.items()}
    network.save_pretrained(tmp_path / "full")
    save_file(moved, tmp_path / "full" / "model.safetensors", metadata={"format": "pt"})
    experts = {tmp_path / "e": 0.5, tmp_path / "full": 0.5}

    def merged(base, experts, name):
        return load_file(merge_to_disk(base, experts, tmp_path / name) / "model.safetensors")

    expected = merged(tmp_path / "plain", experts, "1")
    found = merged(tmp_path / "hub", experts, "2")
    assert torch.equal(found.pop("h.0.attn.bias"), plain["h.0.attn.bias"])
    assert found.keys() == {n.removeprefix("transformer.") for n in expected}
    assert all(torch.equal(found[n.removeprefix("transformer.")], t) for n, t in expected.items())
    back = {tmp_path / "hub": 1.0}
    out = merged(tmp_path / "full", back, "3")
    assert all(torch.allclose(out[n], t, atol=1e-6) for n, t in tensors.items())
