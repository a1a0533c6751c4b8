import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from merging_for_tests import save_tensors
from models_for_tests import FAMILIES, family, model, tokenizer
from safetensors import safe_open

from mixopt.errors import ModelError, OutputError, StorageError
from mixopt.merging import streamed_merge, to_disk
from mixopt.merging.to_disk import merge_to_disk


@contextmanager
def stopped_at_the_last_file(monkeypatch):
    """Interrupt a merge when it begins its last file."""
    write = to_disk._write_shard

    def stop_at_last(file, *rest):
        if file.name.split("-")[1] == file.name.split("-")[3].split(".")[0]:
            raise KeyboardInterrupt
        write(file, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(to_disk, "_write_shard", stop_at_last)
        with pytest.raises(KeyboardInterrupt):
            yield


def save(folder, network, **options):
    network.save_pretrained(folder, **options)
    return folder


def moved(network, seed, size=0.02):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            step = size * torch.randn(parameter.shape, generator=generator)
            parameter.add_(step.to(parameter.dtype))
    return network


def tensors(folder):
    from mixopt.merging.checkpoint import Checkpoint

    opened = Checkpoint(folder)
    return {name: opened.read(name).double().numpy() for name in opened.names}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_merge_is_the_sum_and_transformers_loads_it(name, tmp_path):
    from transformers import AutoModelForCausalLM

    base = save(tmp_path / "base", family(name))
    experts = [save(tmp_path / f"e{i}", moved(family(name), i)) for i in range(3)]
    weights = [0.2, 0.5, 0.3]
    out = merge_to_disk(base, dict(zip(experts, weights, strict=True)), tmp_path / "out")
    start, ends, merged = tensors(base), [tensors(e) for e in experts], tensors(out)
    assert merged.keys() == start.keys()
    for key, value in merged.items():
        steps = [w * (end[key] - start[key]) for w, end in zip(weights, ends, strict=True)]
        assert np.abs(value - (start[key] + sum(steps))).max() < 3e-7 * max(1, np.abs(value).max())
    loaded, told = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert torch.isfinite(loaded(input_ids=torch.tensor([[1, 2, 3]])).logits).all()


def test_shards_types_and_everything_beside_the_weights(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = save(tmp_path / "base", model("qwen2").to(torch.bfloat16), max_shard_size="10KB")
    tokenizer().save_pretrained(base)
    expert = save(tmp_path / "e", moved(model("qwen2"), 1))  # float32, in one file
    out = merge_to_disk(base, {expert: 0.5}, tmp_path / "out", dtype="float16",
                        shard_bytes=10_000)  # fmt: skip
    index = json.loads((out / "model.safetensors.index.json").read_text())
    files = set(index["weight_map"].values())
    assert len(files) > 1
    assert index["metadata"]["total_size"] == sum(2 * t.size for t in tensors(out).values())
    for file in files:
        with safe_open(out / file, framework="pt") as handle:
            assert handle.metadata() == {"format": "pt"}
            for name in handle.keys():  # noqa: SIM118
                assert handle.get_tensor(name).dtype == torch.float16
                assert index["weight_map"][name] == file
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.float16
    assert len(AutoTokenizer.from_pretrained(out)) == 300
    start, end, merged = tensors(base), tensors(expert), tensors(out)
    for name, value in merged.items():
        assert value == pytest.approx((start[name] + end[name]) / 2, rel=2e-3, abs=1e-4)


def test_lora_experts_as_peft_folds_them(tmp_path):
    from peft import LoraConfig, get_peft_model

    base = save(tmp_path / "base", model())
    wrapped = get_peft_model(model(), LoraConfig(r=4, target_modules="all-linear"))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    wrapped.save_pretrained(str(tmp_path / "lora"))
    folded = save(tmp_path / "folded", wrapped.merge_and_unload())
    out = tensors(merge_to_disk(base, {tmp_path / "lora": 1.0}, tmp_path / "out"))
    for name, value in tensors(folded).items():
        assert value == pytest.approx(out[name], abs=1e-6)


def test_integers_are_the_base_s(tmp_path):
    base = save(tmp_path / "base", model())
    kept = {name: torch.from_numpy(value).float() for name, value in tensors(base).items()}
    save_tensors(base, kept | {"steps": torch.tensor([7, 8])})
    expert = save_tensors(tmp_path / "e", kept | {"steps": torch.tensor([1, 2])})
    out = merge_to_disk(base, {expert: 1.0}, tmp_path / "out")
    assert tensors(out)["steps"].tolist() == [7, 8]


def test_what_does_not_fit_is_told_before_anything_is_written(tmp_path):
    base = save(tmp_path / "base", model("llama"))
    other = save(tmp_path / "other", model("qwen2"))
    with pytest.raises(ModelError, match="no expert of this base"):
        merge_to_disk(base, {other: 1.0}, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))
    (base / "config.json").unlink()
    with pytest.raises(ModelError, match="no configuration that transformers can read"):
        merge_to_disk(base, {base: 1.0}, tmp_path / "out")


def test_what_is_there_is_not_written_over(tmp_path):
    base = save(tmp_path / "base", model())
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="is there already"):
        merge_to_disk(base, {base: 1.0}, tmp_path / "out")


def test_a_disk_too_small_is_told_first(tmp_path, monkeypatch):
    base = save(tmp_path / "base", model())
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(to_disk.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match="The merge needs .* GB"):
        merge_to_disk(base, {base: 1.0}, tmp_path / "out")


def test_a_merge_that_was_stopped_goes_on(tmp_path, monkeypatch):
    base = save(tmp_path / "base", model())
    expert = save(tmp_path / "e", moved(model(), 1))
    whole = tensors(merge_to_disk(base, {expert: 0.4}, tmp_path / "whole", shard_bytes=10_000))
    written = []
    write = to_disk._write_shard

    def fail_at_third(file, *rest):
        if len(written) == 2:
            file.with_suffix(".part").write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(file.name)
        write(file, *rest)

    monkeypatch.setattr(to_disk, "_write_shard", fail_at_third)
    with pytest.raises(KeyboardInterrupt):
        merge_to_disk(base, {expert: 0.4}, tmp_path / "out", shard_bytes=10_000)
    assert not (tmp_path / "out").exists()
    again = []

    def spy(file, *rest):
        again.append(file.name)
        write(file, *rest)

    monkeypatch.setattr(to_disk, "_write_shard", spy)
    out = merge_to_disk(base, {expert: 0.4}, tmp_path / "out", shard_bytes=10_000)
    assert again
    assert not set(again) & set(written)
    assert not list(out.glob("*.part"))
    for name, value in tensors(out).items():
        assert np.array_equal(value, whole[name])
    # other weights are another merge: nothing of the first is taken
    with pytest.raises(OutputError):
        merge_to_disk(base, {expert: 0.5}, tmp_path / "out", shard_bytes=10_000)


@pytest.mark.parametrize(("noted", "judged"), [(True, ["far"]), (False, [])])
def test_a_merge_that_goes_on_judges_experts_by_all_tensors(
    tmp_path, monkeypatch, caplog, noted, judged
):
    """The files that are left may hold tensors which an expert has in common with the base."""
    base = save(tmp_path / "base", family("llama"))
    partly = family("llama")
    with torch.no_grad():  # all that comes after the first files
        partly.get_input_embeddings().weight.add_(0.01)
    experts = {
        save(tmp_path / "far", family("llama", seed=1)): 0.5,
        save(tmp_path / "partly", partly): 0.5,
    }
    with stopped_at_the_last_file(monkeypatch):
        merge_to_disk(base, experts, tmp_path / "out", shard_bytes=50_000)
    (scratch,) = tmp_path.glob(".out-*")
    if not noted:
        (scratch / to_disk.SQUARES).unlink()
    out = merge_to_disk(base, experts, tmp_path / "out", shard_bytes=50_000)
    assert len(list(out.glob("*.safetensors"))) > 2
    assert not (out / to_disk.SQUARES).exists()
    warned = [record.message.split()[0] for record in caplog.records]
    assert warned == [str(tmp_path / name) for name in judged]


def test_a_merge_needs_an_expert(tmp_path):
    with pytest.raises(ModelError, match="give at least one"):
        merge_to_disk(save(tmp_path / "base", model()), {}, tmp_path / "out")


MEASURED = """
import resource, sys
from pathlib import Path
import torch, transformers, accelerate
from transformers import LlamaForCausalLM
from mixopt.merging.to_disk import merge_to_disk
folder = Path(sys.argv[1])
tiny = [folder / "tiny", folder / "tiny-out"]
merge_to_disk(tiny[0], {tiny[0]: 1.0}, tiny[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
merge_to_disk(folder / "base", {folder / f"e{i}": 0.1 for i in range(12)}, folder / "out")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_number_of_experts(tmp_path):
    """A base and twelve experts of 80 MB each, whose largest tensor is 16 MB."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("llama", vocab_size=8192, hidden_size=512, num_hidden_layers=4,
                                  intermediate_size=1024, num_attention_heads=8)  # fmt: skip
    network = AutoModelForCausalLM.from_config(config)
    save(tmp_path / "tiny", model())
    save(tmp_path / "base", network)
    for index in range(12):  # links: each is mapped by itself all the same
        shutil.copytree(tmp_path / "base", tmp_path / f"e{index}", copy_function=os.link)
    told = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(told.stdout.split()[-1]) * 1024 < 4 * 16 * 2**20


def test_an_expert_of_another_base_of_the_same_shape_is_warned_of(tmp_path, caplog):
    base = save(tmp_path / "base", family("llama"))
    near, far = save(tmp_path / "near", moved(family("llama"), 1, 0.001)), family("llama", seed=1)
    merge_to_disk(base, {near: 0.5, save(tmp_path / "far", far): 0.5}, tmp_path / "out")
    assert [r.message.split()[0] for r in caplog.records] == [str(tmp_path / "far")]
    assert "was it trained from another base?" in caplog.text


def test_tied_tables_under_either_name(tmp_path):
    base = save(tmp_path / "base", model("llama"))
    moved_on = {n: torch.from_numpy(v).float() + 1 for n, v in tensors(base).items()}
    table = moved_on.pop("model.embed_tokens.weight")
    expert = save_tensors(tmp_path / "e", moved_on | {"lm_head.weight": table})
    out = tensors(merge_to_disk(base, {expert: 0.5}, tmp_path / "out"))
    for name, value in tensors(base).items():
        assert out[name] == pytest.approx(value + 0.5, abs=1e-6)
    (base / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no configuration that transformers can read"):
        merge_to_disk(base, {expert: 0.5}, tmp_path / "again")


def test_the_first_gpt2_and_an_expert_that_stores_its_head(tmp_path):
    base = save(tmp_path / "base", family("gpt2"))
    stored = {n: torch.from_numpy(v).float() for n, v in tensors(base).items()}
    save_tensors(base, {n.removeprefix("transformer."): t for n, t in stored.items()})
    moved_on = {n: t + 1 for n, t in stored.items()}
    head = {"lm_head.weight": moved_on["transformer.wte.weight"].clone()}
    expert = save_tensors(tmp_path / "e", moved_on | head)
    out = tensors(merge_to_disk(base, {expert: 0.5}, tmp_path / "out"))
    assert out.keys() == tensors(base).keys()
    for name, value in tensors(base).items():
        assert out[name] == pytest.approx(value + 0.5, abs=1e-6)


@pytest.mark.parametrize("left_out", ["lm_head.weight", "transformer.wte.weight"])
def test_a_base_that_stores_both_tied_tables(tmp_path, left_out):
    """Its config.json does not say that they are tied, since that is GPT-2's default."""
    base = save(tmp_path / "base", family("gpt2"))
    config = json.loads((base / "config.json").read_text())
    config.pop("tie_word_embeddings", None)
    (base / "config.json").write_text(json.dumps(config))
    stored = {n: torch.from_numpy(v).float() for n, v in tensors(base).items()}
    stored["lm_head.weight"] = stored["transformer.wte.weight"].clone()
    save_tensors(base, stored)
    shutil.copytree(base, tmp_path / "e")
    save_tensors(tmp_path / "e", {n: t + 1 for n, t in stored.items() if n != left_out})
    out = tensors(merge_to_disk(base, {tmp_path / "e": 0.5}, tmp_path / "out"))
    assert out.keys() == stored.keys()
    for name, value in stored.items():
        assert out[name] == pytest.approx(value.double().numpy() + 0.5, abs=1e-6)


def test_a_merge_whose_adapter_changed_meanwhile_starts_anew(tmp_path, monkeypatch):
    from peft import LoraConfig, get_peft_model

    base = save(tmp_path / "base", model())
    wrapped = get_peft_model(model(), LoraConfig(r=4, lora_alpha=4, target_modules="all-linear"))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    wrapped.save_pretrained(str(tmp_path / "lora"))
    with stopped_at_the_last_file(monkeypatch):
        merge_to_disk(base, {tmp_path / "lora": 1.0}, tmp_path / "out", shard_bytes=10_000)
    config = tmp_path / "lora" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 40}))
    out = merge_to_disk(base, {tmp_path / "lora": 1.0}, tmp_path / "out", shard_bytes=10_000)
    fresh = tensors(merge_to_disk(base, {tmp_path / "lora": 1.0}, tmp_path / "fresh"))
    for name, value in tensors(out).items():
        assert np.array_equal(value, fresh[name]), name


def change_one(folder, value, name="model.layers.1.mlp.up_proj.weight"):
    """Set one number of a tensor."""
    changed = {n: torch.from_numpy(v).float() for n, v in tensors(folder).items()}
    changed[name][-1, -1] = value
    return save_tensors(folder, changed)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("weight", [0.5, 0.0])
@pytest.mark.parametrize("role", ["base", "expert"])
def test_numbers_that_are_none_are_not_written(tmp_path, monkeypatch, value, weight, role):
    monkeypatch.setattr(streamed_merge, "READ_BYTES", 200)
    base, fine = save(tmp_path / "base", model()), save(tmp_path / "fine", moved(model(), 1))
    bad = save(tmp_path / "bad", moved(model(), 2))
    spoiled = change_one(base if role == "base" else bad, value)
    with pytest.raises(ModelError) as error:
        merge_to_disk(base, {fine: 0.5, bad: weight}, tmp_path / "out", shard_bytes=10_000)
    assert str(error.value) == (
        f"The {role} at {spoiled} holds NaN or infinity in tensor 'model.layers.1.mlp.up_proj.weight'; "
        "fetch or save it again."
    )
    assert not list(tmp_path.glob("*out*"))


def test_an_adapter_that_is_not_finite_is_named(tmp_path):
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file

    base = save(tmp_path / "base", model())
    lora = LoraConfig(r=4, target_modules=["up_proj"])
    get_peft_model(model(), lora).save_pretrained(str(tmp_path / "lora"))
    file = tmp_path / "lora" / "adapter_model.safetensors"
    factors = load_file(file)
    factors["base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"][0, 0] = float("nan")
    save_file(factors, file)
    with pytest.raises(
        ModelError, match=r"The expert at .*lora holds NaN .*'model.layers.0.mlp.up_pr"
    ):
        merge_to_disk(base, {tmp_path / "lora": 0.5}, tmp_path / "out")


def test_a_merge_out_of_the_range_of_its_type_is_not_written(tmp_path):
    base = change_one(save(tmp_path / "base", model()), 1e5)
    expert = save(tmp_path / "e", moved(model(), 1))
    change_one(expert, 3e5)
    reached = (
        r"The merge reaches 2e\+05 in tensor 'model.layers.1.mlp.up_proj.weight', and float16 ends"
    )
    with pytest.raises(ModelError, match=reached):
        merge_to_disk(base, {expert: 0.5}, tmp_path / "out", dtype="float16")
    assert not list(tmp_path.glob("*out*"))
    merge_to_disk(base, {expert: 0.5}, tmp_path / "out", dtype="bfloat16")


def test_the_last_checkpoint_of_a_run_is_merged(tmp_path, caplog):
    base = save(tmp_path / "base", model())
    for step in (90, 100):
        save(tmp_path / "web" / f"checkpoint-{step}", moved(model(), step, 0.001))
    out = merge_to_disk(base, {tmp_path / "web": 1.0}, tmp_path / "out")
    last = tensors(tmp_path / "web" / "checkpoint-100")
    assert all(np.allclose(value, last[name], atol=1e-6) for name, value in tensors(out).items())
    said = f"{tmp_path / 'web'} holds checkpoints only; its last one, checkpoint-100, is merged."
    assert [record.message for record in caplog.records] == [said]


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module."])
def test_base_and_experts_saved_from_wrappers(tmp_path, prefix):
    def wrap(folder, network):
        save(folder, network)
        named = {prefix + n: torch.from_numpy(v).float() for n, v in tensors(folder).items()}
        return save_tensors(folder, named)

    base, expert = save(tmp_path / "base", model()), save(tmp_path / "e", moved(model(), 1))
    plain = tensors(merge_to_disk(base, {expert: 0.5}, tmp_path / "plain"))
    wrapped = {wrap(tmp_path / "wrapped", moved(model(), 1)): 0.5}
    for start in (base, wrap(tmp_path / "wrapped-base", model())):
        out = tensors(merge_to_disk(start, wrapped, tmp_path / f"out-{start.name}"))
        assert out.keys() == plain.keys()
        assert all(np.array_equal(out[name], plain[name]) for name in plain)


@pytest.mark.parametrize(
    ("choice", "words"),
    [({"resize": "Largest"}, "resize='Largest' is unknown; leave it out or give one of base, largest"),
     ({"dtype": "bf16"}, "dtype='bf16' is unknown; .* float32, bfloat16, float16")],
)  # fmt: skip
def test_unknown_types_and_sizes_are_refused_before_a_file_is_read(tmp_path, choice, words):
    with pytest.raises(ModelError, match=words):
        merge_to_disk(tmp_path / "none", {tmp_path / "expert": 1.0}, tmp_path / "out", **choice)
