import numpy as np
import pytest
from runs_on_simplex import table

import mixopt
from mixopt.mixture import Mixture
from mixopt.optimization.weight_space import WeightSpace
from mixopt.report.build import (
    gather_facts,
    gather_points,
    gather_trials,
    gather_what_if,
    rank_unseen,
)
from mixopt.surrogates.utility import WorstCapability

TABLE = table(24, "trained", noise=0.05)


@pytest.fixture(scope="module")
def asked():
    surrogate = mixopt.fit(TABLE, target="utility")
    group = {"ends": mixopt.Group(domains=(TABLE.domains[0], TABLE.domains[-1]), upper=0.9)}
    space = mixopt.SearchSpace(tuple(TABLE.domains), upper={TABLE.domains[0]: 0.7}, groups=group)
    proposals = mixopt.propose(surrogate, space, q=1, seed=0)
    weights = WeightSpace.of_domains(space)
    return surrogate, proposals, gather_what_if(surrogate, weights, proposals)


def test_the_page_s_formula_says_what_the_surrogate_says(asked):
    surrogate, proposals, told = asked
    natural = proposals[0].comparisons[0].ratios
    points = np.random.default_rng(1).dirichlet(np.ones(len(told.domains)), 100)
    found = told.emulator.predict(points)
    gain, std = surrogate.utility_difference(points, natural.vector(told.domains))
    assert np.quantile(np.abs(found[:, 0] - gain), 0.9) < 3 * told.miss + 1e-6
    assert told.miss < 0.1 * told.spread
    _, _, told_std = told.read(told.answers[0], points)
    assert np.quantile(np.abs(told_std / std - 1), 0.9) < 2 * told.band_miss + 1e-6
    assert told.band_miss < 0.4
    mean, _ = surrogate.predict(points)
    for answer in told.answers:
        if answer.kind == "metric":
            m = [f.metric.name for f in surrogate.metrics].index(answer.name)
            assert np.corrcoef(found[:, answer.mean], mean[:, m])[0, 1] > 0.99


@pytest.mark.parametrize("share", [0.002, 0.01, 0.05])
def test_bands_are_right_where_a_reader_starts(asked, share):
    """Near the reference a change is small and sure: the formula's error must not drown it."""
    surrogate, proposals, told = asked
    natural = proposals[0].comparisons[0].ratios.vector(told.domains)
    away = np.random.default_rng(2).dirichlet(np.ones(3), 60)
    points = (1 - share) * natural + share * away
    _, std = surrogate.utility_difference(points, natural)
    _, _, found = told.read(told.answers[0], points)
    assert (found > 0).all()
    assert np.median(np.abs(found / std - 1)) < 0.3


def test_starts_are_answered_exactly(asked):
    surrogate, proposals, told = asked
    assert list(told.starts) == ["proposal", "natural", "uniform", "best seen"]
    for name, mixture in told.starts.items():
        (found,) = told.emulator.predict(mixture.vector(told.domains)[None])
        natural = told.starts["natural"]
        assert found[0] == pytest.approx(
            surrogate.estimate_gain(mixture, natural).mean, abs=5e-3
        ), name
    (at_natural,) = told.emulator.predict(told.starts["natural"].vector(told.domains)[None])
    assert at_natural[0] == pytest.approx(0, abs=1e-5)


def test_capabilities_are_answered_where_there_are_several(asked):
    _, _, told = asked
    kinds = [answer.kind for answer in told.answers]
    assert kinds == ["utility", "capability", "capability", "metric", "metric"]


@pytest.mark.parametrize("normalise", ["z", "rank"])
def test_capabilities_are_in_the_scale_of_the_search(normalise):
    trials = TABLE[:16]
    surrogate = mixopt.fit(trials, target="utility")
    space = mixopt.SearchSpace(tuple(TABLE.domains))
    proposals = mixopt.propose(surrogate, space, seed=0)
    told = gather_what_if(surrogate, WeightSpace.of_domains(space), proposals, normalise=normalise)
    parts = WorstCapability.of_capabilities(trials, trials.search_metrics, {}, normalise).parts
    best = proposals[0].ratios.vector(told.domains)[None]
    natural = told.anchor[None] ** 2
    here, there = (surrogate.predict(rows)[0] for rows in (best, natural))
    for answer in told.answers:
        if answer.kind == "capability":
            expected = parts[answer.name].of(here) - parts[answer.name].of(there)
            _, change, _ = told.read(answer, best)
            assert change == pytest.approx(expected, abs=1e-3), answer.name


def test_bounds_and_rules_go_to_the_page(asked):
    _, _, told = asked
    assert told.upper[0] == 0.7
    assert len(told.rules) == 1
    assert "ends" in told.rules[0]
    assert (told.feasible[:, 0] <= 0.7 + 1e-9).all()


def test_points_are_those_of_cross_validation(asked):
    surrogate, _, _ = asked
    points = gather_points(surrogate)
    name = surrogate.metrics[0].metric.name
    assert np.array_equal(points[name].predicted, surrogate.metrics[0].cv_predictions)
    assert points["utility"].rank == rank_unseen(surrogate) > 0.5


def test_trials_have_the_utility_of_the_surrogate(asked):
    surrogate, _, _ = asked
    told = gather_trials(surrogate, TABLE)
    assert len(told) == len(TABLE)
    assert isinstance(told[0][0], Mixture)


def test_facts_name_versions_and_what_the_caller_adds():
    facts = gather_facts(seed="3")
    assert facts["seed"] == "3"
    assert f"numpy {np.__version__}" in facts["versions"]
    assert facts["mixopt"].startswith(mixopt.__version__)
