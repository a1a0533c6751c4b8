from pathlib import Path

import numpy as np
import pytest
import toy
import yaml

from mixopt.config.loader import (
    _find_study,
    give_experts,
    load_proposal_config,
    load_study,
    set_seed,
)
from mixopt.errors import ConfigError, UserError


def test_quickstart_resolves_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_study("quickstart")
    assert len(config.experts) == 5
    own = {b.own_domain for b in config.benchmarks if b.own_domain}
    assert own == set(config.domains)
    assert sum(not b.own_domain for b in config.benchmarks) >= 3
    assert {b.role for b in config.benchmarks} == {"search", "holdout"}


def test_a_shipped_study_does_not_replace_a_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="Study quickstart.yaml does not exist"):
        load_study("quickstart.yaml")
    with pytest.raises(
        ConfigError, match="runs.csv is a table, not a study; run `mixopt propose --runs runs.csv`"
    ):
        load_study("runs.csv")


def test_words_are_booleans_only_where_a_boolean_is_expected(tmp_path):
    study = toy.write_study(tmp_path)
    plain = yaml.safe_load(study.read_text()) | {
        "exports": [{"format": "json", "out": "a", "options": {"shuffle": "X"}}]
    }
    study.write_text(yaml.safe_dump(plain).replace("X", "no"))
    with pytest.raises(ConfigError, match="shuffle is 'no', which is text; write true or false"):
        load_study(study)


@pytest.mark.parametrize("kind", [str, Path])
def test_folders_of_given_experts_are_paths_or_text(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    base = {"kind": "pretrained", "path": str(tmp_path / "base"), "context": 32}
    config = load_study(toy.write_study(tmp_path, base=base))
    given = give_experts(config, {"birds": kind("runs/birds")})
    assert given.experts[0].checkpoint == str(tmp_path / "runs" / "birds")


def test_paths_are_relative_to_the_file_that_holds_them(tmp_path):
    config = load_study(toy.write_study(tmp_path))
    assert config.experts[0].text.paths == [str(tmp_path / "data" / "birds.jsonl")]


def test_resolved_config_loads_again(tmp_path):
    config = load_study(toy.write_study(tmp_path))
    path = tmp_path / "resolved.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_study(path) == config


def test_scientific_notation_without_a_point_is_a_number(tmp_path):
    study = toy.write_study(tmp_path)
    study.write_text(study.read_text().replace("learning_rate: 0.01", "learning_rate: 3e-4"))
    assert load_study(study).training.learning_rate == 3e-4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"serch": {}}, "serch is not a field. Did you mean 'search'"),
        ({"target": {}}, "target.tokens is missing"),
        ({"search": {"rounds": [0]}}, "search.rounds.0: input should be greater than 0"),
        ({"search": {"lower": {"bird": 0.1}}}, "unknown domain 'bird'. Did you mean 'birds'"),
        ({"search": {"capability_weights": {"shps": 1}}}, "Did you mean 'ships'"),
        ({"search": {"natural": {"birds": 0.5, "ships": 0.4}}}, "sum to 0.9"),
        ({"experts": "none/*.yaml"}, "no file matches 'none/"),
        (
            {"search": {"lower": {"birds": 0.7, "ships": 0.7}}},
            "search: The lower bounds sum to 1.4",
        ),
        ({"search": {"rounds": [2]}}, "the first has 2 candidates and needs 6"),
        (
            {"exports": [{"format": "yaml", "out": "x"}, {"format": "json", "out": "x"}]},
            "export file 'x' is named twice",
        ),
        ({"base": {"kind": "pretrained"}}, "base.pretrained.path is missing"),
        ({"experts": 3}, "experts must list YAML files"),
        ({"exports": [{"format": "yaml", "out": "../up.yaml"}]}, "exports.0.out"),
        ({"exports": [{"format": "yaml", "out": "x" * 300}]}, "exports.0.out: .*at most 200"),
        (
            {
                "exports": [{"format": "yaml", "out": "{phase}" * 3}],
                "phases": [{"name": "a" * 90, "tokens": toy.study_plain()["target"]["tokens"]}],
            },
            "more than 200 characters with the name of a phase",
        ),
        ({"search": {"rounds": [1000000000]}}, "rounds.0: .*less than or equal to 100000"),
        ({"executor": {"kind": "processes", "workers": 10**9}}, "workers: .*equal to 10000"),
        ({"name": "n" * 300}, "name: .*at most 100"),
    ],
)
def test_what_a_study_may_not_say(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load_study(toy.write_study(tmp_path, **changes))
    assert "toy.yaml" in str(caught.value)


def test_domain_named_twice(tmp_path):
    study = toy.write_study(tmp_path)
    (tmp_path / "experts" / "again.yaml").write_text(
        (tmp_path / "experts" / "birds.yaml").read_text()
    )
    with pytest.raises(ConfigError, match="domain 'birds' is named twice"):
        load_study(study)


def test_only_holdout_benchmarks(tmp_path):
    study = toy.write_study(tmp_path, benchmarks="benchmarks/choice.yaml")
    with pytest.raises(ConfigError, match="at least one must have role search"):
        load_study(study)


def test_files_that_are_no_yaml(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        _find_study(tmp_path / "none.yaml")
    path = tmp_path / "x.yaml"
    path.write_text("a: [1,\nb: 2")
    with pytest.raises(ConfigError, match=r"x.yaml, line \d: not valid YAML"):
        load_study(path)
    path.write_text("name: a\nname: b\n")
    with pytest.raises(ConfigError, match="'name' is given twice"):
        load_study(path)
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_study(path)
    path.write_text("")
    with pytest.raises(ConfigError, match="must hold a mapping"):
        load_study(path)


def test_benchmark_over_text_that_is_trained_on(tmp_path):
    study = toy.write_study(tmp_path)
    expert = tmp_path / "experts" / "birds.yaml"
    whole = expert.read_text()
    expert.write_text(whole.replace("part: train", "part: all"))
    with pytest.raises(ConfigError, match="reads the text that expert 'birds' is trained on"):
        load_study(study)
    expert.write_text(whole + "  heldout_share: 0.3\n")
    with pytest.raises(ConfigError, match="the same heldout_share and group"):
        load_study(study)


def test_control_characters_in_a_study(tmp_path):
    """One in an unknown field would reach the terminal by the message about that field."""
    path = tmp_path / "x.yaml"
    path.write_text('"na\\eme": a\n')
    with pytest.raises(ConfigError, match="has the control character") as raised:
        load_study(path)
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize(
    ("section", "value", "words"),
    [
        ("base", {"architecture": "llama"}, "base.kind is missing; add one of build, pretrained"),
        ("base", None, "base is missing; add it"),
        ("search", 3, "search: give a mapping of fields .given: 3"),
        ("target", [], "target: give a mapping of fields"),
        ("target", {"tokens": "10B"}, "target.tokens: write 10_000_000_000 or 1e10 .given: '10B'"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(tmp_path, section, value, words):
    study = toy.write_study(tmp_path)
    study.write_text(yaml.safe_dump(yaml.safe_load(study.read_text()) | {section: value}))
    with pytest.raises(ConfigError, match=words):
        load_study(study)


def test_a_section_without_fields_is_its_default(tmp_path):
    study = toy.write_study(tmp_path)
    plain = yaml.safe_load(study.read_text())
    study.write_text(yaml.safe_dump(plain | {"search": None, "seed": None}))
    assert load_study(study).seed == 0


def test_amounts_in_a_study(tmp_path):
    study = toy.write_study(tmp_path)
    plain = yaml.safe_load(study.read_text())
    plain["search"]["natural"] = {"birds": 60, "ships": 40}
    plain["target"]["tokens"] = "X"
    study.write_text(yaml.safe_dump(plain).replace("X", "1e9"))
    config = load_study(study)
    assert config.search.natural == {"birds": 0.6, "ships": 0.4}
    assert config.target.tokens == 1_000_000_000


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    study = toy.write_study(tmp_path / "home")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = sorted((study.parent / "experts").glob("*.yaml"))[0]
    expert = yaml.safe_load(file.read_text())
    expert["text"]["paths"] = ["~/data/birds.jsonl"]
    file.write_text(yaml.safe_dump(expert))
    assert load_study("~/" + study.name).experts[0].text.paths == [
        str(tmp_path / "home" / "data" / "birds.jsonl")
    ]
    plain = yaml.safe_load(study.read_text())
    plain["base"] = {"kind": "pretrained", "path": "~/model"}
    study.write_text(yaml.safe_dump(plain))
    assert load_study(study).base.path == str(tmp_path / "home" / "model")


def test_a_seed_is_replaced_by_a_whole_number_only(tmp_path):
    config = load_study(toy.write_study(tmp_path))
    for seed in (5, np.int64(5)):
        changed = set_seed(config, seed)
        assert changed == config.model_copy(update={"seed": 5})
        assert changed.model_dump_json()
    for seed, words in ((-1, "The seed is -1; give a whole number of at least 0"),
                        ("3", "The seed is '3'; give a whole number"), (1.0, "The seed is 1.0"),
                        (1 << 63, "--seed: input should be less than")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            set_seed(config, seed)


def test_a_folder_is_no_study(tmp_path, monkeypatch):
    study = toy.write_study(tmp_path)
    with pytest.raises(ConfigError, match=f"is a folder, not a study; .* in it, such as {study}"):
        load_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"\. is a folder, not a study; .* such as toy.yaml"):
        load_study(".")
    with pytest.raises(ConfigError, match="experts is a folder; give the YAML file in it"):
        load_proposal_config(tmp_path / "experts")


def test_the_home_folder_of_a_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "r.yaml").write_text("x-caps: &caps {web: 0.5}\nupper: *caps\n")
    assert load_proposal_config(Path("~/r.yaml")).upper == {"web": 0.5}


def test_blocks_that_anchors_repeat_are_no_fields(tmp_path):
    study = toy.write_study(tmp_path)
    study.write_text(f"x-common: &c {{rounds: [9]}}\n{study.read_text()}")
    assert load_study(study).name == "toy"


def test_an_error_in_a_file_of_an_expert_or_a_benchmark_names_the_file(tmp_path):
    """It named the study and a place in its list."""
    study = toy.write_study(tmp_path)
    for folder in ("experts", "benchmarks"):
        file = tmp_path / folder / "ships.yaml"
        whole = file.read_text()
        file.write_text(whole.replace("group:", "gruop:"))
        with pytest.raises(
            ConfigError, match=f"^{file}: .*text.files.gruop is not a field.*'group'"
        ):
            load_study(study)
        file.write_text(whole.replace("kind: files", "size: 3"))
        with pytest.raises(ConfigError, match=f"^{file}: .*text.kind is missing"):
            load_study(study)
        file.write_text(whole)
    plain = yaml.safe_load(study.read_text())
    plain["experts"] = [*np.ravel(plain["experts"]).tolist(), {"domain": "x", "tetx": 1}]
    study.write_text(yaml.safe_dump(plain))
    with pytest.raises(ConfigError, match="toy.yaml: experts.3.tetx is not a field"):
        load_study(study)
