import numpy as np
import pytest

from mixopt import Mixture, SearchSpace
from mixopt.optimization.gradient_ascent import ascend, choose_starts, divide
from mixopt.optimization.weight_space import WeightSpace

DOMAINS = ("a", "b", "c", "d")
BEST = np.array([0.5, 0.3, 0.15, 0.05])


def climb(space, evaluations=20, start=None):
    asked = []

    def climbed(weights):
        asked.append(weights)
        away = weights - BEST
        return -float(4 * away @ away), -8 * away

    weights = WeightSpace.of_domains(space)
    ascend(climbed, weights, np.full(4, 0.25) if start is None else start, evaluations=evaluations)
    return np.array(asked)


def test_the_top_is_reached_in_few_evaluations():
    asked = climb(SearchSpace(DOMAINS), 8)
    assert len(asked) <= 8
    assert np.abs(asked - BEST).max(axis=1).min() < 0.01


def test_every_point_that_is_asked_for_keeps_the_limits():
    space = SearchSpace(
        DOMAINS, upper={"a": 0.35}, lower={"d": 0.1}, max_kl=0.2, prior=Mixture.uniform(DOMAINS)
    )
    asked = climb(space)
    assert space.contains(asked, tolerance=1e-6).all()
    assert asked[:, 0].max() == pytest.approx(0.35, abs=1e-4)


def test_no_more_evaluations_than_are_given():
    assert len(climb(SearchSpace(DOMAINS), 3)) == 3


def test_starts_are_the_best_that_lie_apart():
    space = WeightSpace.of_domains(SearchSpace(DOMAINS))
    near = BEST + np.array([0.01, -0.01, 0.0, 0.0])
    weights = np.stack([BEST, near, np.eye(4)[1], np.eye(4)[2]])
    starts = choose_starts(space, weights, np.array([3.0, 2.9, -np.inf, 1.0]), 3)
    assert starts.tolist() == [BEST.tolist(), np.eye(4)[2].tolist()]


def test_evaluations_are_divided_among_ascents_none_too_short():
    assert [divide(n) for n in (3, 8, 16, 25)] == [[3], [8], [8, 8], [9, 8, 8]]
