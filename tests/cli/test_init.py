import json

import pytest
import toy
from calling import call

from mixopt.cli.init import _write_study
from mixopt.config.loader import load_study
from mixopt.data.text_files import list_files
from mixopt.errors import ConfigError
from mixopt.pipeline.confirmation import confirmation_of


def test_init_writes_a_study_that_runs_up_to_its_text(tmp_path):
    toy.write_jsonl(tmp_path / "t.jsonl", [{"text": "x"}])
    printed = call(
        "init", tmp_path / "s", "-d", f"a={tmp_path}/t.jsonl", "-d", f"b={tmp_path}/t.jsonl"
    )
    assert "mixopt run" in printed
    assert load_study(tmp_path / "s" / "study.yaml").domains == ("a", "b")


def test_a_folder_with_spaces_is_one_word_of_the_next_command(tmp_path):
    printed = call("init", tmp_path / "my study", "-d", "a=x", "-d", "b=y")
    command = f"mixopt run '{tmp_path}/my study/study.yaml'"
    assert f"mixopt plan '{tmp_path}/my study/study.yaml', then {command}" in printed
    assert command in printed
    assert command in (tmp_path / "my study" / "study.yaml").read_text()


def test_written_study_loads_and_splits_its_text(tmp_path):
    toy.write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}])
    domains = {"a": str(tmp_path / "a.jsonl"), "b": str(tmp_path / "*.jsonl")}
    config = load_study(_write_study(tmp_path / "mine", domains, None))
    assert config.name == "mine"
    assert config.domains == ("a", "b")
    assert config.experts[0].text.part == "train"
    assert config.benchmarks[0].text.part == "heldout"
    assert config.benchmarks[0].text.heldout_share == config.experts[0].text.heldout_share


def test_base_of_one_s_own(tmp_path):
    config = load_study(_write_study(tmp_path / "s", {"a": "x", "b": "y"}, "some/hub-id"))
    assert config.base.kind == "pretrained"
    assert config.base.path == "some/hub-id"
    # not the Step Law's, which was fitted to training from scratch
    assert (config.training.learning_rate, config.training.batch_tokens) == (5e-5, 16 * 1024)
    assert "method: lora needs\n# about ten times" in (tmp_path / "s" / "study.yaml").read_text()
    printed = call("init", tmp_path / "t", "--base", "some/hub-id", "-d", "a=x", "-d", "b=y")
    assert "Training  rate 5e-05, batches of 16 sequences" in printed


@pytest.mark.parametrize(("n_domains", "runs"), [(2, 16), (4, 16), (10, 19), (60, 44)])
def test_the_written_study_has_a_budget_that_holds_a_confirmation(tmp_path, n_domains, runs):
    domains = {f"d{number}": "x" for number in range(n_domains)}
    config = load_study(_write_study(tmp_path / "s", domains, None))
    assert config.validation is None
    assert config.budget.runs == runs
    rest = config.budget_tokens - n_domains * config.training.expert_length
    assert confirmation_of(config, config.run_lengths, rest)[0] > 0


def test_nothing_is_overwritten_and_one_domain_is_no_mixture(tmp_path):
    with pytest.raises(ConfigError, match="two domains or more"):
        _write_study(tmp_path / "s", {"a": "x"}, None)
    _write_study(tmp_path / "s", {}, None)
    with pytest.raises(ConfigError, match="exists already"):
        _write_study(tmp_path / "s", {}, None)


@pytest.mark.parametrize("section", ["experts", "benchmarks"])
def test_yaml_of_another_study_is_neither_overwritten_nor_joined(tmp_path, section):
    (tmp_path / section).mkdir()
    kept = tmp_path / section / "web.yaml"
    kept.write_text("mine")
    with pytest.raises(ConfigError, match="web.yaml exists already, and the study would read it"):
        _write_study(tmp_path, {"web": "x", "code": "y"}, None)
    assert kept.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [section]


def test_a_folder_with_the_marks_of_globs_in_its_name(tmp_path, monkeypatch):
    folder = tmp_path / "run[1]"
    toy.write_jsonl(folder / "t.jsonl", [{"text": "x"}])
    monkeypatch.chdir(folder)
    config = load_study(_write_study(folder, {"a": "*.jsonl", "b": "t.jsonl"}, None))
    for expert in config.experts:
        assert list_files(expert.text) == [folder / "t.jsonl"]


@pytest.mark.parametrize(
    ("config", "context", "said"),
    [
        ({"max_position_embeddings": 128}, 128, "128 tokens, as many as the base has"),
        ({"n_positions": 512, "n_ctx": 512}, 512, "512 tokens"),
        ({"max_position_embeddings": 131072}, 4096, "4,096 tokens; the base has 131,072 positions"),
        ({"text_config": {"max_position_embeddings": 256}}, 256, "256 tokens"),
        ({}, 1024, "1,024 tokens; how many positions the base has is not known"),
    ],
)
def test_the_context_is_the_base_s_own(tmp_path, config, context, said):
    base = tmp_path / "run" / "checkpoint-10"
    base.mkdir(parents=True)
    (base / "config.json").write_text(json.dumps(config))
    for number, place in enumerate((base, base.parent)):
        folder = tmp_path / f"s{number}"
        printed = call("init", folder, "--base", place, "-d", "a=x", "-d", "b=y")
        assert said in printed
        assert load_study(folder / "study.yaml").base.context == context


def test_domains_with_dots_and_slashes(tmp_path):
    domains = {"dclm/web-1.0": "x", "stack.v2": "y", "wiki:en": "z"}
    config = load_study(_write_study(tmp_path / "s", domains, None))
    assert set(config.domains) == set(domains)
    assert {b.own_domain for b in config.benchmarks} == set(domains)
    for name in ("../x", "a//b", "a/", ".a", "a b", "a/../b"):
        with pytest.raises(ConfigError, match="a name is letters"):
            _write_study(tmp_path / "t", {name: "x", "b": "y"}, None)
    with pytest.raises(ConfigError, match="one file name"):
        _write_study(tmp_path / "t", {"a/b": "x", "a.b": "y"}, None)
