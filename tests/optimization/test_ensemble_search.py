from dataclasses import replace

import numpy as np
import pytest

from mixopt import Metric, SearchSpace
from mixopt.optimization.ensemble_search import EnsembleSearch
from mixopt.optimization.weight_space import WeightSpace
from mixopt.search_limits import Group
from mixopt.surrogates.ensemble import EnsembleModel, response_weights
from mixopt.surrogates.utility import Utility, WorstCapability

DOMAINS = ("code", "law", "web")
METRICS = tuple(Metric(name, "lower", capability=name) for name in ("a", "b", "c"))


def make_model(seed=0):
    """Three benchmarks of 40 items; expert j is good at benchmark j, and the third at all a little."""
    rng = np.random.default_rng(seed)
    items = np.repeat(np.arange(120), 5)
    metrics = items // 40
    logprobs = -rng.gamma(2.0, 1.2, size=(3, 600))
    for place in range(3):
        logprobs[place, metrics == place] *= 0.4
    logprobs[2] *= 0.8
    return EnsembleModel.of(logprobs, np.full(600, 1 / 200), metrics, items, np.full(120, 5.0))


def linear(*weights):
    return Utility(METRICS, -np.array(weights), np.zeros(3))


def worst():
    parts = {m.name: linear(*(np.array(METRICS) == m).astype(float)) for m in METRICS}
    return WorstCapability(METRICS, parts)


def grid(steps=60):
    first, second = np.meshgrid(*[np.arange(steps + 1) / steps] * 2)
    rows = np.stack([first, second, 1 - first - second], axis=-1).reshape(-1, 3)
    return np.maximum(rows[rows[:, 2] >= -1e-12], 0)


def search(utility, gamma=0.6, **limits):
    space = WeightSpace.of_domains(SearchSpace(DOMAINS, **limits))
    return EnsembleSearch(make_model(), utility, space, gamma)


@pytest.mark.parametrize("gamma", [0.6, 1.0])
@pytest.mark.parametrize("utility", [linear(0.2, 0.3, 0.5), linear(1, 0, 0), worst()])
@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"upper": {"code": 0.15, "law": 0.5}, "lower": {"law": 0.3}},
        {"groups": {"prose": Group(upper=0.4, domains=("law", "web"))}},
        {"prior": {"code": 0.1, "law": 0.1, "web": 0.8}, "max_kl": 0.05},
    ],
    ids=["free", "bounds", "group", "kl"],
)
def test_no_feasible_mixture_of_a_grid_is_better(utility, gamma, limits):
    found = search(utility, gamma, **limits)
    best = found.maximize()
    assert found.space.pull(best[None])[0] == pytest.approx(best, abs=1e-6)
    rows = found.space.pull(grid())
    assert found.value(best) >= max(found.value(row) for row in rows) - 1e-5


def test_without_limits_the_end_does_not_depend_on_the_start():
    found = search(linear(0.2, 0.3, 0.5))
    best = found.maximize()
    for start in np.random.default_rng(0).dirichlet(np.ones(3), size=4):
        assert found._climb(start) == pytest.approx(best, abs=5e-3)


def test_bootstrap_spreads_the_choice_around_the_leader():
    found = search(linear(0.2, 0.3, 0.5))
    best = found.maximize()
    draws = found.bootstrap(best, 20, np.random.default_rng(0))
    assert draws.shape == (20, 3)
    assert draws.sum(axis=1) == pytest.approx(1)
    assert np.abs(draws.mean(axis=0) - best).max() < 0.05
    assert 0.005 < draws.std(axis=0).max() < 0.2
    again = found.bootstrap(best, 20, np.random.default_rng(0))
    assert np.array_equal(draws, again)


@pytest.mark.parametrize("utility", [linear(0.2, 0.3, 0.5), worst()])
def test_newton_ends_where_slsqp_on_the_losses_does(utility):
    found = search(utility)
    best = found.maximize()
    exact = max((found._climb(start) for start in (best, found.space.centre)), key=found.value)
    assert best == pytest.approx(exact, abs=1e-3)
    assert found.value(best) >= found.value(exact) - 1e-6
    for seed in range(3):
        sample = replace(found, model=found.model.resample(np.random.default_rng(seed)))
        curvature = found.model.curvature(response_weights(best, found.gamma))
        assert sample._refine(best, curvature) == pytest.approx(sample._climb(best), abs=2e-3)


def test_where_second_order_misleads_the_losses_themselves_are_searched():
    found = search(linear(0.2, 0.3, 0.5))
    best = found.maximize()
    # a curvature far too small asks for steps far too large
    flat = 1e-3 * found.model.curvature(response_weights(best, found.gamma))
    assert found._refine(np.array([0.8, 0.1, 0.1]), flat) == pytest.approx(best, abs=2e-3)
    assert found._refine(best, flat) == pytest.approx(best, abs=2e-3)


def test_experts_that_are_mixtures_are_searched_by_their_weights():
    composition = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    space = WeightSpace(SearchSpace(DOMAINS, upper={"web": 0.3}), DOMAINS, composition)
    found = EnsembleSearch(make_model(), linear(0, 0, 1), space, 0.6)
    best = found.maximize()
    assert space.ratios(best[None])[0, 2] == pytest.approx(0.3, abs=1e-4)
