import pytest
import toy

import mixopt
from mixopt.errors import ConfigError
from mixopt.tables.read_trials import read_trials


def test_proxy_runs_are_read_back_and_slopes_are_counted(tmp_path):
    search = toy.study_plain()["search"] | {"rounds": [6], "slopes": True}
    path = toy.write_study(tmp_path, search=search, validation={"mixtures": 4, "seeds": 2})
    study = mixopt.Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    trials = study.search()
    validation = study.validate(trials=trials)
    better = {metric.name: metric.better for metric in trials.metrics}
    runs = read_trials(runs=tmp_path / "out" / "proxy-runs.csv", better=better)
    assert len(runs) == 8
    plain = len(trials.where(kind="merged")) * study.foundation.swarm.flops_per_score
    experts = sum(trained.outcome.flops for trained in study.foundation.experts.values())
    assert validation.cost.search_flops > experts + 1.5 * plain


def test_a_study_that_asks_for_none(tmp_path):
    path = toy.write_study(tmp_path, search=toy.study_plain()["search"] | {"rounds": [6]})
    study = mixopt.Study.load(path, tmp_path / "out", cache=tmp_path / "cache", device="cpu")
    with pytest.raises(ConfigError, match="no `validation` section"):
        study.validate()
