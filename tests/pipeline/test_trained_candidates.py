from types import SimpleNamespace

import numpy as np
import pytest
import toy

from mixopt import Mixture, SearchSpace
from mixopt.errors import DivergedError, RunError
from mixopt.optimization.weight_space import WeightSpace
from mixopt.pipeline import trained_candidates
from mixopt.pipeline.mixture_runs import name_mixture
from mixopt.pipeline.search import CandidateSearch
from mixopt.pipeline.trained_candidates import (
    describe_replaced_booster,
    list_failed_candidates,
    train_candidates,
)
from mixopt.training import trainer
from mixopt.trial import Metric, Score, Trial
from mixopt.trials import Trials


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


def test_candidates_that_diverge_are_paid_for_from_the_budget(tmp_path, trained_toy, monkeypatch):
    toy.copy_trained(trained_toy, tmp_path)
    # three experts, natural and seven candidates, its second seed, and one run more
    budget = {"runs": 3 + 8 + 1 + 1, "longest": 1, "confirmation": 0}
    path = toy.write_study(tmp_path, search={"rounds": [7], "method": "regmix"}, budget=budget)
    study, real = toy.load(tmp_path, path), trainer.train
    search = study.open_search()
    lost = search.to_mixture(search.draw_runs(1, 7)[1])

    def train(*arguments, name, **options):
        if name.startswith(name_mixture(lost)):
            raise DivergedError(f"The loss of {name!r} stopped being finite at step 3; lower it.")
        return real(*arguments, name=name, **options)

    monkeypatch.setattr(trainer, "train", train)
    trials = study.search()
    (failed,) = list_failed_candidates(study.context, search, trials)
    assert Mixture.from_vector(search.domains, failed.ratios) == lost
    assert (failed.seed, failed.tokens, failed.failed) == (0, 4000, True)
    bought = study.spend(trials=trials)
    trained = {(each.ratios.tobytes(), each.seed) for each in bought}
    assert len(trained) == 2
    assert lost.vector(search.domains).tobytes() not in {ratios for ratios, _ in trained}
    (proposal,) = study.propose(trials)
    assert proposal.decision.learning[-1].tokens == pytest.approx(13 * 4000, rel=0.05)


def test_a_candidate_without_enough_text_is_not_paid_for(monkeypatch):
    space = SearchSpace(("a", "b"), prior={"a": 0.6, "b": 0.4})
    config = SimpleNamespace(rounds=[2, 1])
    search = CandidateSearch(
        SimpleNamespace(scorer=SimpleNamespace(metrics=(Metric("loss"),))),
        WeightSpace.of_domains(space), None, space.domains, config, "regmix", 0, None,
    )  # fmt: skip
    context = SimpleNamespace(
        config=SimpleNamespace(training=SimpleNamespace(tokens=40), domains=space.domains),
        corpora=SimpleNamespace(natural=Mixture({"a": 0.6, "b": 0.4})),
    )
    drawn = np.vstack([search.draw_runs(1, 2), search.draw_runs(2, 1)])
    first, other, third = (Mixture.from_vector(space.domains, row) for row in drawn)
    monkeypatch.setattr(trained_candidates, "has_text", lambda _, ratios, __: ratios != third)
    trials = Trials(
        [Trial(id=name_mixture(ratios), ratios=ratios, kind="trained", scores={"loss": Score(1.0)})
         for ratios in (context.corpora.natural, first)],
        (Metric("loss"),), space.domains,
    )  # fmt: skip
    (failed,) = list_failed_candidates(context, search, trials)
    assert failed.ratios == pytest.approx(other.vector(space.domains))
