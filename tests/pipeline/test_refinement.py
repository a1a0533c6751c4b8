from types import SimpleNamespace

import numpy as np
import pytest
import toy

from mixopt.optimization.decision import TIE
from mixopt.pipeline.gains import Observation, StudyGains
from mixopt.pipeline.refinement import Refinement, search_between


@pytest.fixture(scope="module")
def gains(tmp_path_factory, trained_toy):
    folder = tmp_path_factory.mktemp("refinement")
    study = toy.load(toy.copy_trained(trained_toy, folder), toy.write_study(folder))
    trials = study.search()
    return StudyGains(study.context, study.open_search(), study.open_policy(), trials)


def posterior_of(value):
    """A posterior whose expected gain is a function of the ratios."""
    return SimpleNamespace(expected=lambda asked, _: value(asked.ratios)[:, None])


CORNERS = np.eye(3)


def test_a_mixture_between_the_best_candidates_is_found(gains):
    middle = np.array([0.5, 0.5, 0.0])
    found = search_between(gains, posterior_of(lambda r: -np.abs(r - middle).sum(axis=1)), CORNERS)
    assert found == pytest.approx(middle)
    # natural is one of the others
    near = 0.75 * CORNERS[2] + 0.25 * gains.natural
    found = search_between(gains, posterior_of(lambda r: -np.abs(r - near).sum(axis=1)), CORNERS)
    assert found == pytest.approx(near)


def test_what_is_no_better_than_a_tie_is_no_candidate(gains):
    middle = CORNERS[:2].mean(axis=0)

    def peak(height):
        return lambda r: 1 + height * (np.abs(r - middle).max(axis=1) < 1e-9)

    assert search_between(gains, posterior_of(peak(0.9 * TIE)), CORNERS) is None
    assert search_between(gains, posterior_of(peak(1.1 * TIE)), CORNERS) == pytest.approx(middle)
    # where the best candidate is best, nothing is between
    assert search_between(gains, posterior_of(lambda r: r[:, 0]), CORNERS) is None


def test_it_keeps_the_limits_of_the_search(gains, monkeypatch):
    def gain(rows):
        return -np.abs(rows - [0.5, 0.5, 0.0]).sum(axis=1)

    space = gains.search.space.space
    monkeypatch.setattr(type(space), "contains", lambda _, rows, **__: rows[:, 0] < 0.3)
    found = search_between(gains, posterior_of(gain), CORNERS)
    assert found is None or found[0] < 0.3
    monkeypatch.setattr(type(space), "contains", lambda _, rows, **__: np.zeros(len(rows), bool))
    assert search_between(gains, posterior_of(gain), CORNERS) is None


def test_the_worst_capability_counts_where_it_is_asked_for(gains):
    halves = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    worst = SimpleNamespace(expected=lambda asked, _: asked.ratios)
    found = search_between(gains, worst, halves)
    assert found.min() == pytest.approx(0.25)  # a quarter of each of two halves that differ


def test_a_candidate_is_searched_once_and_found_again(
    gains, tmp_path, trained_toy, monkeypatch, caplog
):
    caplog.set_level("INFO")
    study = toy.load(toy.copy_trained(trained_toy, tmp_path), toy.write_study(tmp_path))
    study.prepare()
    middle = np.array([0.5, 0.5, 0.0])
    posterior = posterior_of(lambda r: -np.abs(r - middle).sum(axis=1))
    runs = [Observation(CORNERS[0], 0, 4000, np.ones(1))]
    refinement = Refinement(study.context, gains, "proposals-0")
    assert refinement.found_before() == []
    found = refinement.search(posterior, CORNERS, runs)
    monkeypatch.setattr("mixopt.pipeline.refinement.search_between", lambda *_: None)
    assert refinement.search(posterior, CORNERS, runs) == pytest.approx(found)
    assert refinement.search(posterior, CORNERS, [*runs, *runs]) is None  # other runs
    assert "built again" not in caplog.text  # another run is no change of a result
    (again,) = Refinement(study.context, gains, "proposals-0").found_before()
    assert again == pytest.approx(middle)
    assert Refinement(study.context, gains, "proposals-1").found_before() == []
