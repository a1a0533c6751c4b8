import numpy as np
import pytest
from example_trials import DOMAINS, make_trials
from scipy.special import ndtr

from mixopt import Group, Mixture, SearchSpace, fit
from mixopt.optimization.multistart import Goal, maximize
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
