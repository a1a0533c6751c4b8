from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import toy

from mixopt import Mixture
from mixopt.errors import ConfigError
from mixopt.pipeline import objective as measuring
from mixopt.pipeline.ensemble_scores import scored_by_ensembles
from mixopt.pipeline.mixture_runs import name_mixture, order_natural
from mixopt.pipeline.objective import measure_objective, require_objective


@pytest.fixture(scope="module")
def study(tmp_path_factory, trained_toy):
    folder = tmp_path_factory.mktemp("objective")
    toy.write_study(folder)
    return toy.load(toy.copy_trained(trained_toy, folder))


def test_it_is_measured_once_and_read_afterwards(study, monkeypatch):
    search = study.open_search()
    first = measure_objective(study.context, search)
    names = {metric.name for metric in first.metrics}
    assert names == {"birds_heldout", "ships_heldout", "sums_heldout", "continue"}
    assert (first.spreads > 0).all()
    assert first.trust.tolist() == [1.0] * 4  # no seeds without a budget
    monkeypatch.setattr(measuring, "draw_around", None)
    again = measure_objective(study.context, search)
    assert again.spreads.tolist() == first.spreads.tolist()


def test_the_search_is_told_in_its_unit(study):
    policy = study.open_policy()
    assert policy.scales == dict(
        zip((m.name for m in policy.objective.metrics), policy.objective.spreads, strict=True)
    )
    trials = study.search()
    surrogate = policy.fit(trials)
    slopes = np.abs(surrogate.utility.gradient(np.zeros((1, len(surrogate.metrics))))[0])
    for fitted, slope in zip(surrogate.metrics, slopes, strict=True):
        capability = [m for m in trials.metrics if m.capability == fitted.metric.capability]
        searched = [m for m in capability if m.role == "search"]
        trust = policy.trust(trials)
        share = trust[fitted.metric.name] / sum(trust[m.name] for m in searched)
        best = max(trust[m.name] for m in searched)
        total = sum(
            max(
                trust[m.name] for m in trials.metrics if m.capability == name and m.role == "search"
            )
            for name in ("birds", "ships", "sums")
        )
        expected = best / total * share / policy.scales[fitted.metric.name]
        assert slope == pytest.approx(expected)


def test_natural_is_trained_once_for_objective_and_budget(study):
    natural = order_natural(study.context)
    assert tuple(natural) == study.config.domains
    turned = Mixture(dict(list(natural.items())[::-1]))
    assert name_mixture(turned) == name_mixture(natural)


def test_natural_with_two_seeds_tells_what_seeds_cannot_reproduce(study, tmp_path, trained_toy):
    toy.write_study(tmp_path, budget={"runs": 9})
    with_budget = toy.load(toy.copy_trained(trained_toy, tmp_path))
    found = measure_objective(with_budget.context, with_budget.open_search())
    alone = measure_objective(study.context, study.open_search())
    assert ((found.trust > 0) & (found.trust < 1)).all()
    assert found.spreads == pytest.approx(alone.spreads)
    assert replace(found, trust=np.ones(4)).combinations() == pytest.approx(alone.combinations())
    assert found.combinations() != pytest.approx(alone.combinations())


@pytest.mark.parametrize(("noise", "told"), [(100.0, True), (0.0, False)])
def test_seeds_that_differ_more_than_mixtures_are_told(
    tmp_path, trained_toy, monkeypatch, noise, told
):
    """A pretrained base that experts hardly move: no benchmark can tell mixtures apart."""
    toy.write_study(tmp_path)
    study = toy.load(toy.copy_trained(trained_toy, tmp_path))
    search = study.open_search()
    monkeypatch.setattr(measuring, "_score_seeds", lambda *_: np.zeros((2, 2, 4)))
    monkeypatch.setattr(measuring, "_measure_noise", lambda *_: np.full((2, 4), noise))
    measure_objective(study.context, search)
    warnings = "\n".join(map(str, study.callbacks.study_warnings))
    sentence = "differ more than mixtures do, by their ensembles, in every benchmark that chooses"
    assert (sentence in warnings) is told


def test_where_ensembles_score_nothing_it_has_no_metric_yet(study, monkeypatch):
    monkeypatch.setattr(measuring, "scored_by_ensembles", lambda search: ())
    objective = measure_objective(study.context, study.open_search())
    assert objective.metrics == ()
    with pytest.raises(ConfigError, match="no benchmark that chooses is one"):
        require_objective(SimpleNamespace(objective=objective))


def test_an_accuracy_without_signal_is_searched_by_its_loss_and_that_is_said(
    tmp_path, trained_toy, monkeypatch
):
    path = toy.write_study(tmp_path, search={"method": "ensemble", "rounds": [6]})
    choice = tmp_path / "benchmarks" / "choice.yaml"
    choice.write_text(choice.read_text().replace("role: holdout", "role: search"))
    study = toy.load(toy.copy_trained(trained_toy, tmp_path), path)
    noise = np.zeros((2, 5))
    names = [metric.name for metric in scored_by_ensembles(study.open_search())]
    noise[0] = 100.0  # of all scores, but a loss has no other for its search
    monkeypatch.setattr(measuring, "_score_seeds", lambda *_: np.zeros((2, 2, 5)))
    monkeypatch.setattr(measuring, "_measure_noise", lambda *_: noise)
    objective = measure_objective(study.context, study.open_search())
    assert objective.searched_by_loss == ("choice",)
    assert objective.search_trust[names.index("choice")] == pytest.approx(1)
    assert objective.search_trust[names.index("birds_heldout")] < 0.01
    said = "from seeds: choice; ensembles are searched by the loss of their right answers"
    assert said in "\n".join(map(str, study.callbacks.study_warnings))
