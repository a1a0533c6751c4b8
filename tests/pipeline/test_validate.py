import pytest
import toy

from mixopt.errors import ConfigError
from mixopt.tables.read_trials import read_trials


def test_proxy_runs_are_read_back_and_slopes_are_counted(toy_folder):
    search = toy.study_plain()["search"] | {"rounds": [6], "slopes": True}
    validation = {"mixtures": 4, "seeds": 2}
    study = toy.load(toy_folder, toy.write_study(toy_folder, search=search, validation=validation))
    trials = study.search()
    found = study.validate(trials=trials)
    better = {metric.name: metric.better for metric in trials.metrics}
    runs = read_trials(runs=study.output / "proxy-runs.csv", better=better)
    assert len(runs) == 8
    search = study.open_search()
    plain = len(trials.where(kind="merged")) * search.evaluator.flops_per_score
    experts = sum(result.outcome.flops for result in search.experts.results.values())
    assert found.cost.search_flops > experts + 1.5 * plain


def test_a_study_without_validation(toy_folder):
    path = toy.write_study(toy_folder, search=toy.study_plain()["search"] | {"rounds": [6]})
    with pytest.raises(ConfigError, match="no `validation` section"):
        toy.load(toy_folder, path).validate()
