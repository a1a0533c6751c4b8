import numpy as np
import pytest
import toy

from mixopt.errors import RunError
from mixopt.pipeline import trained_candidates
from mixopt.pipeline.trained_candidates import describe_replaced_booster, train_candidates


@pytest.fixture
def study(tmp_path, trained_toy):
    toy.write_study(tmp_path, search={"rounds": [6], "method": "regmix"})
    return toy.load(toy.copy_trained(trained_toy, tmp_path))


def test_natural_is_trained_before_the_first_round(study):
    search, rows = study.open_search(), np.array([[0.6, 0.2, 0.2], [0.6, 0.2, 0.2]])
    first = train_candidates(study.context, search, rows, 1)
    assert [trial.ratios for trial in first] == [
        study.context.corpora.natural,
        search.to_mixture(rows[0]),
    ]
    assert {trial.kind for trial in first} == {"trained"}
    assert all(abs(trial.tokens - 4000) < 256 for trial in first)
    later = train_candidates(study.context, search, rows, 2)
    assert [trial.ratios for trial in later] == [search.to_mixture(rows[0])]
    # the same run, found in the store
    assert later[0].scores == first[1].scores


def test_a_run_that_fails_is_reported_and_left_out(study, monkeypatch):
    search, said = study.open_search(), []
    monkeypatch.setattr(study.context.callbacks, "message", said.append)

    def fail_first(context, specs):
        yield specs[0], RunError("its loss is not finite")

    monkeypatch.setattr(trained_candidates, "train_runs", fail_first)
    assert train_candidates(study.context, search, np.array([[1.0, 0.0, 0.0]]), 1) == []
    replaced, failed = said
    assert failed.endswith("is left out: its loss is not finite")
    # of seven runs RegMix's booster would be a constant
    assert replaced.startswith("regmix: below 41 runs RegMix's booster predicts a constant")
    assert "this search trains 7 with natural" in replaced


def test_enough_runs_are_fitted_with_the_published_booster(study):
    search = study.config.search.model_copy(update={"rounds": (32, 8)})
    assert describe_replaced_booster(study.config.model_copy(update={"search": search})) is None
