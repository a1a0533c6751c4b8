import pytest
import toy
from pydantic import ValidationError

from mixopt import Mixture
from mixopt.config.benchmarks import ContinuationConfig, GenerationConfig
from mixopt.config.loader import load_study
from mixopt.config.search import ENSEMBLE_RESPONSE, PUBLISHED, RESPONSE, SearchConfig
from mixopt.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rounds": [5]}, "the first has 5 candidates and needs 6"),
        ({"method": "regmix", "slopes": True}, "slopes goes with method: mergemix"),
        ({"method": "olmix", "ensembles": 3}, "ensembles goes with method: mergemix"),
        ({"method": "gradient", "response": 0.7}, "slopes are measured at weights = ratios"),
        ({"slopes": True, "item_share": 0.5}, "slopes are measured on all items"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        SearchConfig(**settings)


def test_ranks_are_warned_of_where_a_decision_has_none(tmp_path):
    benchmarks = load_study(toy.write_study(tmp_path)).benchmarks
    said = SearchConfig(normalise="rank").describe_ranks(benchmarks)
    assert said.startswith("search.normalise: rank holds for the surrogate's proposals alone")
    assert SearchConfig().describe_ranks(benchmarks) is None
    # of what ensembles cannot score there is no decision
    text = GenerationConfig(name="g", kind="generation", items="g.jsonl")
    assert SearchConfig(normalise="rank").describe_ranks([text]) is None


def test_the_response_map_follows_from_the_method():
    assert SearchConfig().choose_response("mergemix") == RESPONSE
    assert SearchConfig().choose_response("ensemble") == ENSEMBLE_RESPONSE
    assert SearchConfig(response=0.9).choose_response("mergemix") == 0.9
    assert SearchConfig(slopes=True).choose_response("mergemix") == 1
    assert {SearchConfig().choose_response(method) for method in PUBLISHED} == {1}


def test_a_study_may_bound_groups_and_more(tmp_path):
    limits = {
        "groups": {"seen": {"upper": 0.6, "domains": ["birds", "ships"]}},
        "inequalities": [{"coefficients": {"birds": 1, "ships": -1}, "limit": 0.0}],
        "max_kl": 0.4,
    }
    study = toy.write_study(tmp_path / "a", search={"rounds": [7]} | limits)
    search = load_study(study).search
    even = Mixture.uniform(("birds", "ships", "sums"))
    space = search.space(tuple(even), prior=even)
    assert space.contains([[0.3, 0.3, 0.4], [0.35, 0.3, 0.35]]).tolist() == [True, False]
    wrong = {"groups": {"seen": {"domains": ["brids"]}}}
    with pytest.raises(ConfigError, match="search: The group 'seen'.*Did you mean 'birds'"):
        load_study(toy.write_study(tmp_path / "b", search={"rounds": [7]} | wrong))


def test_layers_of_scalebio_are_for_it_alone_and_for_whole_weights(tmp_path):
    assert "lisa_layers" not in SearchConfig().model_dump(mode="json")
    # a wrong name is answered with all that there are
    with pytest.raises(ValueError, match="'regmix', 'olmix', .* or 'projektor'"):
        SearchConfig(method="projekt")
    with pytest.raises(ValueError, match="lisa_layers goes with method: scalebio"):
        SearchConfig(method="odm", lisa_layers=2)
    search = {"rounds": [6], "method": "scalebio", "lisa_layers": 2}
    training = toy.study_plain()["training"] | {"method": "lora"}
    with pytest.raises(ConfigError, match="trains whole layers, and training.method is lora"):
        load_study(toy.write_study(tmp_path, search=search, training=training))


def test_a_method_that_follows_from_other_settings_says_from_which():
    losses = [ContinuationConfig(name="c", kind="continuation", items="c.jsonl")]
    written = [*losses, GenerationConfig(name="g", kind="generation", items="g.jsonl")]
    assert SearchConfig(method="regmix").describe_method(losses) == "search.method: regmix"
    for settings, benchmarks, words in (
        ({}, losses, "ensemble: ensembles can score every benchmark that chooses"),
        ({"item_share": 0.5}, losses, "mergemix: item_share is a setting of merges"),
        ({}, written, "mergemix: benchmark 'g' needs a whole model"),
    ):
        said = SearchConfig(**settings).describe_method(benchmarks)
        assert said == f"search.method: auto, here {words}"


@pytest.mark.parametrize("method", ["auto", "ensemble", "mergemix", "regmix"])
def test_runs_of_a_method_go_with_a_method_of_others(method):
    with pytest.raises(
        ValidationError, match=f"method_runs goes with .* method is {method}; leave it"
    ):
        SearchConfig(method=method, method_runs=4)
    assert SearchConfig(method="olmix", method_runs=4).method_runs == 4
