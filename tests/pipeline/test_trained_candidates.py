from types import SimpleNamespace

import numpy as np
import pytest
import toy

from mixopt import Mixture, SearchSpace
from mixopt.errors import RunError
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline import trained_candidates
from mixopt.pipeline.search import CandidateSearch
from mixopt.pipeline.trained_candidates import describe_replaced_booster, train_candidates
from mixopt.trial import Metric


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


def test_mixtures_that_experts_cannot_make_are_drawn_and_trained(monkeypatch):
    space = SearchSpace(("a", "b", "c"), prior={"a": 0.6, "b": 0.3, "c": 0.1})
    prior = np.array([0.6, 0.3, 0.1])
    rows = {name: Mixture.from_vector(space.domains, (prior + row) / 2)
            for name, row in zip(space.domains, np.eye(3), strict=True)}  # fmt: skip
    trained = []
    search = CandidateSearch(
        SimpleNamespace(items=None), WeightSpace.of_rows(space, rows), None, space.domains, None,
        "regmix", 0, lambda _, drawn, number: trained.append(drawn) or [],
    )  # fmt: skip
    drawn = search.choose(2, 64, None, None, None)
    assert drawn.rows[:, 0].min() < 0.2  # half of natural is in each expert
    search.evaluator.scorer = SimpleNamespace(metrics=(Metric("loss"),))
    search.score(drawn)
    context = SimpleNamespace(
        config=SimpleNamespace(
            training=SimpleNamespace(tokens=40, decays=False), domains=space.domains
        ),
        corpora=SimpleNamespace(natural=Mixture({"a": 0.6, "b": 0.3, "c": 0.1})),
    )
    seen = []
    monkeypatch.setattr(trained_candidates, "train_runs", lambda _, specs: seen.extend(specs) or ())
    train_candidates(context, search, trained[0], 2)
    ratios = np.stack([spec.ratios.vector(space.domains) for spec in seen])
    assert ratios == pytest.approx(drawn.rows)


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
