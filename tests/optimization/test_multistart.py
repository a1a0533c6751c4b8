import numpy as np
import pytest
from example_trials import DOMAINS, make_trials
from scipy.special import ndtr

from mixopt import Group, Mixture, SearchSpace, fit
from mixopt.optimization.multistart import Goal, ascend, choose_starts, divide, maximize
from mixopt.optimization.weight_space import WeightSpace

ORDER = list(range(4))


@pytest.fixture(scope="module")
def surrogate():
    return fit(make_trials(48), surrogates=("gp_root", "ridge_root"))


def best_of_a_grid(goal, space):
    points = np.random.default_rng(0).dirichlet(np.ones(4), 60_000)
    points = points[space.contains(points)]
    return float(goal.values(points).max())


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"upper": {"a": 0.2}, "lower": {"d": 0.2}},
        {"groups": {"g": Group(0.2, 0.4, ("a", "b"))}},
        {"frozen": {"c": 0.1}},
        {"max_kl": 0.1, "prior": {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}},
    ],
)
def test_ends_no_lower_than_a_fine_grid_and_inside(surrogate, limits):
    space = SearchSpace(DOMAINS, **limits)
    weights = WeightSpace.of_domains(space)
    goal = Goal(surrogate)
    starts = weights.sample(4, np.random.default_rng(1))
    ends = maximize(goal, weights, ORDER, starts)
    assert space.contains(ends, tolerance=1e-8).all()
    values = goal.values(ends)
    if "frozen" not in limits:
        assert values.max() >= best_of_a_grid(goal, space) - 1e-3
    assert (values >= goal.values(starts) - 1e-6).all()


def test_the_chance_of_beating_a_reference_is_another_goal(surrogate):
    even = np.full(4, 0.25)
    goal = Goal(surrogate, even)
    assert goal.values(even[None])[0] == pytest.approx(50, abs=1e-6)
    weights = WeightSpace.of_domains(SearchSpace(DOMAINS))
    end = maximize(goal, weights, ORDER, even[None] * [0.9, 1.1, 1.0, 1.0])
    gain, std = surrogate.utility_difference(end, even)
    farther = maximize(Goal(surrogate), weights, ORDER, even[None])
    far_gain, far_std = surrogate.utility_difference(farther, even)
    assert ndtr(gain[0] / std[0]) >= ndtr(far_gain[0] / far_std[0]) - 0.02
    # of steps that are all as good as certain to help, not the tiniest one
    assert gain[0] > 0.5 * far_gain[0]


def test_weights_of_anchored_experts(surrogate):
    rows = {name: Mixture({n: 0.25 + 0.5 * (n == name) - 0.5 / 3 * (n != name) for n in DOMAINS})
            for name in DOMAINS}  # fmt: skip
    space = WeightSpace.of_rows(SearchSpace(DOMAINS), rows)
    ends = maximize(Goal(surrogate), space, ORDER, np.full((1, 4), 0.25))
    assert ends.sum() == pytest.approx(1)
    before = surrogate.expected_utility(np.full((1, 4), 0.25))
    assert surrogate.expected_utility(space.ratios(ends)) >= before


NAMES = ("a", "b", "c", "d")
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
    asked = climb(SearchSpace(NAMES), 8)
    assert len(asked) <= 8
    assert np.abs(asked - BEST).max(axis=1).min() < 0.01


def test_every_point_that_is_asked_for_keeps_the_limits():
    space = SearchSpace(
        NAMES, upper={"a": 0.35}, lower={"d": 0.1}, max_kl=0.2, prior=Mixture.uniform(NAMES)
    )
    asked = climb(space)
    assert space.contains(asked, tolerance=1e-6).all()
    assert asked[:, 0].max() == pytest.approx(0.35, abs=1e-4)


def test_no_more_evaluations_than_are_given():
    assert len(climb(SearchSpace(NAMES), 3)) == 3


def test_starts_are_the_best_that_lie_apart():
    space = WeightSpace.of_domains(SearchSpace(NAMES))
    near = BEST + np.array([0.01, -0.01, 0.0, 0.0])
    weights = np.stack([BEST, near, np.eye(4)[1], np.eye(4)[2]])
    starts = choose_starts(space, weights, np.array([3.0, 2.9, -np.inf, 1.0]), 3)
    assert starts.tolist() == [BEST.tolist(), np.eye(4)[2].tolist()]


def test_evaluations_are_divided_among_ascents_none_too_short():
    assert [divide(n) for n in (3, 8, 16, 25)] == [[3], [8], [8, 8], [9, 8, 8]]
