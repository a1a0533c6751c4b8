import pytest
import toy
from calling import call

from mixopt.cli.init import _write_study
from mixopt.config.loader import load_study
from mixopt.errors import ConfigError


def test_init_writes_a_study_that_runs_up_to_its_text(tmp_path):
    toy.write_jsonl(tmp_path / "t.jsonl", [{"text": "x"}])
    printed = call(
        "init", tmp_path / "s", "-d", f"a={tmp_path}/t.jsonl", "-d", f"b={tmp_path}/t.jsonl"
    )
    assert "mixopt run" in printed
    assert load_study(tmp_path / "s" / "study.yaml").domains == ("a", "b")


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


def test_nothing_is_overwritten_and_one_domain_is_no_mixture(tmp_path):
    with pytest.raises(ConfigError, match="two domains or more"):
        _write_study(tmp_path / "s", {"a": "x"}, None)
    _write_study(tmp_path / "s", {}, None)
    with pytest.raises(ConfigError, match="exists already"):
        _write_study(tmp_path / "s", {}, None)
