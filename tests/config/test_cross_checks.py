"""Checks that involve several fields; those of text, names and bounds are in `test_loader.py`."""

import pytest
import toy

from mixopt.config.loader import load_study
from mixopt.errors import ConfigError


def write(folder, search, **says):
    benchmark = {"name": "wrote", "kind": "generation", "items": "data/continue.jsonl"} | says
    study = toy.write_study(folder, search={"rounds": [7]} | search)
    toy.write_jsonl(folder / "benchmarks" / "wrote.yaml", [benchmark])  # JSON is YAML
    return study


@pytest.mark.parametrize(
    "search",
    [
        {"method": "gradient"},
        {"slopes": True},
        {"scoring": "streamed"},
        {"proxy": "ensembled"},
    ],
)
def test_benchmarks_of_whole_models_do_not_go_with_what_is_none(tmp_path, search):
    with pytest.raises(ConfigError, match=r"'wrote' \(generation\) needs a whole merged model"):
        load_study(write(tmp_path, search))


def test_a_holdout_needs_no_ensemble(tmp_path):
    config = load_study(write(tmp_path, {"proxy": "ensembled"}, role="holdout"))
    assert config.benchmarks[-1].name == "wrote"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (["choise"], "validation.result: unknown benchmark 'choise'. Did you mean 'choice'"),
        (["birds_heldout"], "'birds_heldout' has role search, so it chooses the mixture"),
    ],
)
def test_what_chooses_is_no_result(tmp_path, result, words):
    with pytest.raises(ConfigError, match=words):
        load_study(toy.write_study(tmp_path, validation={"mixtures": 4, "result": result}))


def test_weights_go_with_the_mean(tmp_path):
    search = {"rounds": [7], "aggregate": "worst", "capability_weights": {"birds": 2}}
    with pytest.raises(ConfigError, match="capability_weights count for the mean"):
        load_study(toy.write_study(tmp_path, search=search))
