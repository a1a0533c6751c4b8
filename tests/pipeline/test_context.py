from dataclasses import replace

import pytest
import torch
import toy
from models_for_tests import save_base

from mixopt.artifacts.store import MissingArtifactError
from mixopt.errors import ConfigError, ModelError
from mixopt.executors.dispatcher import ReadOnlyDispatcher
from mixopt.pipeline.context import StudyContext
from mixopt.training.device import Device


def test_nothing_is_built_to_open_a_context(tmp_path):
    study = toy.load(tmp_path, toy.write_study(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MissingArtifactError, match="tokenizers/bpe-"):
        _ = study.context.corpora.counts
    assert sorted(tmp_path.rglob("*")) == before


def test_the_natural_mixture_is_that_of_the_available_tokens(toy_folder):
    corpora = toy.load(toy_folder).prepare().corpora
    tokens = {name: corpus.tokens for name, corpus in corpora.counts.items()}
    assert corpora.natural["birds"] == pytest.approx(tokens["birds"] / sum(tokens.values()))


def test_compositions_are_corners_or_hold_the_anchor(toy_folder):
    assert toy.load(toy_folder).prepare().compositions["ships"]["ships"] == 1
    training = toy.study_plain()["training"] | {"anchor_share": 0.5}
    context = toy.load(toy_folder, toy.write_study(toy_folder, training=training)).prepare()
    row, natural = context.compositions["ships"], context.corpora.natural
    assert row["ships"] == pytest.approx(0.5 + 0.5 * natural["ships"])
    assert row["birds"] == pytest.approx(0.5 * natural["birds"])


def test_a_read_only_context_runs_no_job(toy_folder):
    study = toy.load(toy_folder)
    context = StudyContext(study.config, study.environment, read_only=True)
    assert isinstance(context.dispatcher, ReadOnlyDispatcher)
    assert context.base_model.parameters > 0


def test_a_study_with_phases_has_no_search_of_its_own(tmp_path):
    phases = [{"name": "a", "tokens": 15_000}, {"name": "b", "tokens": 5_000}]
    study = toy.load(tmp_path, toy.write_study(tmp_path, phases=phases))
    with pytest.raises(ConfigError, match="has phases"):
        study.prepare()


def test_folders_of_given_experts_are_looked_for_once(tmp_path, monkeypatch):
    base = {"kind": "pretrained", "path": str(tmp_path), "context": 32}
    path = toy.write_study(tmp_path, base=base)
    folders = {name: tmp_path / f"expert-{name}" for name in toy.WORDS}
    study = toy.load(tmp_path, path, experts=folders)
    looked = []
    monkeypatch.setattr(
        "mixopt.pipeline.context.find_model_folder", lambda path: looked.append(path) or path
    )
    context = StudyContext(study.config, study.environment)
    for _ in range(3):
        assert context.given_experts == folders
    assert len(looked) == len(folders)


def pretrained(folder, **sections):
    """The context of a study from a base that exists, before anything is built."""
    base = {"kind": "pretrained", "path": str(save_base(folder / "base")), "context": 32}
    study = toy.load(folder, toy.write_study(folder, base=base, **sections))
    return StudyContext(study.config, study.environment)


def test_lora_that_fits_no_layer_is_found_before_text_is_read(tmp_path):
    lora = {"rank": 2, "target_modules": ["no_such_layer"]}
    training = toy.study_plain()["training"] | {"method": "lora", "lora": lora}
    context = pretrained(tmp_path, training=training)
    with pytest.raises(ModelError, match="LoRA does not fit this base"):
        context.prepare()
    assert not list(context.environment.cache.glob("corpora/*"))


def test_idle_cards_are_counted_where_this_process_trains_on_one(tmp_path, monkeypatch):
    context = pretrained(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert context._count_cards() == 0
    context.device = Device("cuda", torch.float32)
    assert context._count_cards() == 3
    heard = []
    monkeypatch.setattr(context.callbacks, "warning", lambda text, *_: heard.append(text))
    monkeypatch.setattr(StudyContext, "_check_given_weights", lambda _: None)
    context.prepare()
    assert any("3 GPUs, and executor: local uses one" in text for text in heard)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_pretrained_base_on_workers_without_cards_is_told(tmp_path, monkeypatch, device):
    context = pretrained(tmp_path, executor="ray")
    context.environment = replace(context.environment, device=device)
    heard = []
    monkeypatch.setattr(context.callbacks, "warning", lambda text, *_: heard.append(text))
    monkeypatch.setattr(StudyContext, "_check_given_weights", lambda _: None)
    context.prepare()
    told = [text for text in heard if "set executor: {kind: ray, gpus: 1} in the study" in text]
    assert len(told) == (device == "auto")
