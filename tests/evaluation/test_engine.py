import json

import numpy as np
import pytest
import torch
from merging_for_tests import Fixed, choices, save_experts, save_model, save_tensors, texts
from models_for_tests import FAMILIES, family, perturbed, tokenizer
from safetensors.torch import load_file, save_file

from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import ModelError
from mixopt.evaluation import engine as engine_module
from mixopt.evaluation.engine import (
    StreamedEngine,
    _has_names_of,
    _ResidentEngine,
    _save_renamed,
    hash_expert,
    open_engine,
    open_engine_of,
)
from mixopt.evaluation.scorer import Scorer
from mixopt.merging.checkpoint import Checkpoint
from mixopt.merging.expert import open_expert
from mixopt.merging.merge import FREE_SHARE, ModelMerger
from mixopt.training.base_model import Base, Layout, mergeable
from mixopt.training.device import Device
from mixopt.training.model_loading import load_model

CPU = Device("cpu", torch.float32)
ROWS = [[0.2, 0.8], [0.6, 0.4], [0.0, 0.0]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    network = family("llama")
    return save_model(folder / "base", network), save_experts(folder, network, 2)


def opened(saved, **options):
    base, experts = saved
    return open_engine(base, experts, CPU, lambda: load_model(base, CPU), **options)


def test_both_engines_give_the_same(saved):
    resident, streamed = opened(saved, scoring="resident"), opened(saved, scoring="streamed")
    assert isinstance(resident, _ResidentEngine)
    assert isinstance(streamed, StreamedEngine)
    flats = [
        np.stack(list(engine.logprobs(Scorer([Fixed([*choices(), *texts()])]), ROWS)))
        for engine in (resident, streamed)
    ]
    assert np.abs(flats[0] - flats[1]).max() < 1e-4
    assert (resident.k, resident.parameters) == (streamed.k, streamed.parameters)
    assert resident.step_sizes() == pytest.approx(streamed.step_sizes(), rel=1e-4)


def test_where_models_do_not_fit_they_are_streamed(saved, monkeypatch):
    assert isinstance(opened(saved), _ResidentEngine)
    monkeypatch.setattr(engine_module, "free_bytes", lambda _: 300_000)
    with pytest.raises(ModelError, match="one layer of 3 models needs"):  # found at once
        opened(saved)
    assert isinstance(opened(saved, memory_bytes=1 << 30), StreamedEngine)
    assert isinstance(opened(saved, scoring="resident"), _ResidentEngine)


@pytest.mark.parametrize(("kind", "bases"), [("full", 2 + 3), ("lora", 2)])
def test_models_fit_by_what_they_take_in_memory(tmp_path, monkeypatch, kind, bases):
    """A base in bfloat16, scored in float32, with experts in float32 or as LoRA factors."""
    from peft import LoraConfig, get_peft_model

    network = family("llama")
    numel = sum(parameter.numel() for parameter in network.parameters())
    experts = save_experts(tmp_path, network, 3)
    if kind == "lora":
        adapted = get_peft_model(family("llama"), LoraConfig(r=1, target_modules=["q_proj"]))
        adapted.save_pretrained(str(tmp_path / "lora"))
        experts = [open_expert(tmp_path / "lora") for _ in range(9)]
    saved = save_model(tmp_path / "base", network.to(torch.bfloat16)), experts
    for share, engine in ((0.9, StreamedEngine), (1.3, _ResidentEngine)):
        room = share * bases * 4 * numel
        monkeypatch.setattr(engine_module, "free_bytes", lambda _, r=room: r / FREE_SHARE)
        assert isinstance(opened(saved, memory_bytes=1 << 30), engine), (share, room)


def test_a_model_that_cannot_be_streamed_is_held_in_memory_and_that_is_said(tmp_path, caplog):
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("phi", vocab_size=300, hidden_size=32, intermediate_size=48,
                                  num_hidden_layers=2, num_attention_heads=4)  # fmt: skip
    network = AutoModelForCausalLM.from_config(config)
    saved = save_model(tmp_path / "base", network), save_experts(tmp_path, network, 2)
    engine = opened(saved, scoring="streamed")
    assert isinstance(engine, _ResidentEngine)
    assert "cannot be scored layer by layer (its output table is more than a table" in caplog.text
    assert len(list(engine.logprobs(Scorer([Fixed(texts())]), ROWS))) == 3


def test_experts_read_for_every_merge_give_the_same(saved):
    from mixopt.merging.merge import ModelMerger

    base, experts = saved
    kept, read = (
        _ResidentEngine(ModelMerger(load_model(base, CPU), experts, resident=resident))
        for resident in (True, False)
    )
    for one, other in zip(
        *(engine.logprobs(Scorer([Fixed(texts())]), ROWS) for engine in (kept, read)), strict=True
    ):
        assert np.array_equal(one, other)


@pytest.fixture
def folders(tmp_path):
    """A Mixtral base and expert, whose tensors on disk are called otherwise than in memory."""
    network = family("mixtral")
    network.save_pretrained(tmp_path / "base")
    state = perturbed(network, 1)
    network.load_state_dict(state, strict=False)
    network.save_pretrained(tmp_path / "expert")
    return tmp_path / "base", tmp_path / "expert"


def open_from(folders, tmp_path, *, given=None, scoring="resident"):
    base = Base(str(folders[0]), 32, CPU, tokenizer())
    store = ArtifactStore(tmp_path / "journal")
    return open_engine_of(base, {folders[1]: given}, store, scoring=scoring, memory_bytes=None)


def test_checkpoints_in_other_names_are_merged_in_those_of_memory(folders, tmp_path):
    resident = open_from(folders, tmp_path)
    streamed = open_from(folders, tmp_path, scoring="streamed")
    assert resident.step_sizes() == pytest.approx(streamed.step_sizes(), rel=1e-5)
    names = dict(family("mixtral").named_parameters())
    renamed = sorted((tmp_path / "journal" / "renamed").iterdir())
    assert len(renamed) == 2  # the base for the streamed engine, the expert for both
    for folder in renamed:
        assert set(load_file(folder / "model.safetensors")) <= set(names)
    (expert,) = (folder for folder in renamed if folder.name.startswith("expert"))
    own = perturbed(family("mixtral"), 1)
    for name, tensor in load_file(expert / "model.safetensors").items():
        assert torch.equal(tensor, own[name])


def test_a_corrected_configuration_is_read_again(folders, tmp_path):
    def theta():
        engine = open_from(folders, tmp_path, scoring="streamed")
        return engine.stream.meta_model.model.config.rope_parameters["rope_theta"]

    file = folders[0] / "config.json"
    before, config = theta(), json.loads(file.read_text())
    config["rope_parameters"]["rope_theta"] = 2 * before
    file.write_text(json.dumps(config))
    assert theta() == 2 * before
    renamed = tmp_path / "journal" / "renamed"
    n_renamed = len(list(renamed.iterdir()))
    file.write_text(
        json.dumps(config | {"transformers_version": "0", "_name_or_path": "elsewhere"})
    )
    assert theta() == 2 * before
    assert len(list(renamed.iterdir())) == n_renamed


def test_only_experts_from_elsewhere_are_warned_of(folders, tmp_path, caplog, monkeypatch):
    family("mixtral", seed=9).save_pretrained(folders[1])
    with monkeypatch.context() as patch:  # step sizes would read the base and every expert
        patch.setattr(_ResidentEngine, "step_sizes", lambda _: pytest.fail("measured"))
        open_from(folders, tmp_path)
    assert not caplog.records
    open_from(folders, tmp_path, given=False)
    assert "from another base" in caplog.text


def test_pickles_are_opened_only_where_that_was_allowed(folders, tmp_path):
    state = {name: t.clone() for name, t in family("mixtral").named_parameters()}
    for file in folders[1].glob("*.safetensors*"):
        file.unlink()
    torch.save({name: t.detach() for name, t in state.items()}, folders[1] / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can hold code"):
        open_from(folders, tmp_path, given=False)
    assert open_from(folders, tmp_path, given=True).k == 1


def test_digest_goes_with_the_weights(folders):
    before = hash_expert(folders[1])
    file = folders[1] / "model.safetensors"
    state = load_file(file)
    state["lm_head.weight"][0, 0] += 1
    save_file(state, file, metadata={"format": "pt"})
    assert hash_expert(folders[1]) != before


RENAMED = {"mixtral", "qwen2_moe", "olmoe", "gpt_neox"}
"""Families whose files call tensors otherwise than the model in memory does."""


@pytest.mark.parametrize("name", FAMILIES)
def test_checkpoints_as_transformers_saves_them_become_experts(name, tmp_path):
    base, expert = family(name), family(name, seed=1)
    expert.save_pretrained(tmp_path / "saved")
    layout = Layout.of(base)
    assert _has_names_of(Checkpoint(tmp_path / "saved"), layout) == (name not in RENAMED)
    _save_renamed(tmp_path / "saved", tmp_path / "renamed")
    assert _has_names_of(Checkpoint(tmp_path / "renamed"), layout)
    merged = ModelMerger(base, [open_expert(tmp_path / "renamed")]).merge([1.0])
    for key, tensor in mergeable(merged).items():
        assert torch.equal(tensor, mergeable(expert)[key]), key


def test_older_names_without_their_prefix(tmp_path):
    network = family("gpt2")
    plain = {n.removeprefix("transformer."): t for n, t in network.named_parameters()}
    network.config.save_pretrained(tmp_path / "old")
    save_tensors(tmp_path / "old", plain)
    assert not _has_names_of(Checkpoint(tmp_path / "old"), Layout.of(network))
    _save_renamed(tmp_path / "old", tmp_path / "new")
    assert _has_names_of(Checkpoint(tmp_path / "new"), Layout.of(network))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_types_stay_as_they_were(tmp_path, dtype):
    family("mixtral").to(dtype).save_pretrained(tmp_path / "saved")
    _save_renamed(tmp_path / "saved", tmp_path / "renamed")
    opened = Checkpoint(tmp_path / "renamed")
    assert {opened.dtype(name) for name in opened.names} == {dtype}
