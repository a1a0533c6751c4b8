from types import SimpleNamespace

import numpy as np
import pytest
import toy

from mixopt import Mixture
from mixopt.pipeline import early_scores
from mixopt.pipeline.early_scores import with_early_scores
from mixopt.pipeline.gains import Observation
from mixopt.pipeline.mixture_runs import ScoredRun

NATURAL, OTHER = np.array([0.6, 0.4]), np.array([0.2, 0.8])


def parts(monkeypatch, stored=True, **config):
    training = SimpleNamespace(tokens=40, decays=False)
    config = {"search_method": "ensemble", "method_trains_natural": False} | config
    context = SimpleNamespace(
        config=SimpleNamespace(training=training, domains=("a", "b"), **config),
        corpora=SimpleNamespace(natural=Mixture({"a": 0.6, "b": 0.4})),
        scorer=SimpleNamespace(read=lambda length: {"loss": SimpleNamespace(score=length)}),
    )

    def read_stored_run(_, spec):
        return ScoredRun(spec, {n: n / 10 for n in spec.checkpoints}, 0.0) if stored else None

    monkeypatch.setattr(early_scores, "read_stored_run", read_stored_run)
    metrics = [SimpleNamespace(name="loss")]
    monkeypatch.setattr(early_scores, "metrics_that_choose", lambda _: metrics)
    return context, None


def run(row, tokens=40, seed=0, score=1.0):
    return Observation(row, seed, tokens, np.array([score]))


RUNS = [run(OTHER), run(NATURAL), run(NATURAL, seed=1), run(NATURAL, seed=500)]


@pytest.mark.parametrize("config", [{"search_method": "regmix"}, {"method_trains_natural": True}])
def test_natural_of_a_search_or_a_method_has_its_early_scores(monkeypatch, config):
    found = with_early_scores(*parts(monkeypatch, **config), RUNS)
    assert [(each.seed, each.tokens, float(each.scores[0])) for each in found[1:4]] == [
        (0, 10, 1.0),
        (0, 20, 2.0),
        (0, 40, 1.0),
    ]
    assert all(np.array_equal(each.ratios, NATURAL) for each in found[1:4])
    assert [found[0], *found[3:]] == RUNS
    # what is there is not added again
    assert with_early_scores(*parts(monkeypatch, **config), found) == found


@pytest.mark.parametrize(
    ("runs", "changes"),
    [
        (RUNS, {}),  # nothing but a budget trains natural
        ([run(OTHER), run(NATURAL, seed=500)], {"search_method": "regmix"}),
        ([run(OTHER), run(NATURAL, score=np.nan)], {"search_method": "regmix"}),
        (RUNS, {"search_method": "regmix", "stored": False}),
    ],
)
def test_without_that_run_there_are_none(monkeypatch, runs, changes):
    assert with_early_scores(*parts(monkeypatch, **changes), runs) == runs


def test_a_study_of_trained_candidates_knows_natural_as_a_curve(tmp_path, trained_toy):
    path = toy.write_study(tmp_path, search={"rounds": [6], "method": "regmix"})
    study = toy.load(toy.copy_trained(trained_toy, tmp_path), path)
    decision = study.propose(study.search())[0].decision
    assert decision.no_equivalent != "the natural mixture was scored at one length only"
    assert decision.equivalent
    assert decision.runs == 6
