import numpy as np
import pytest

from mixopt.optimization.acquisition import expected_improvement, value_of_runs
from mixopt.surrogates.gain_model import GainModel, GainPrior, Mixtures, Runs

NATURAL = np.array([0.6, 0.3, 0.1])
SLOPES = np.array([[-0.5, 0.2], [0.6, -0.1], [1.0, 0.8]])
MODEL = GainModel(GainPrior(), NATURAL, 1e5, np.ones(2), np.array([0, 1]), np.full(2, 0.2))
ROWS = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [0.55, 0.35, 0.1]])
BOTH = np.array([[0.5, 0.5]])


def at(rows, tokens):
    rows = np.atleast_2d(rows)
    return Mixtures(rows, np.full(len(rows), float(tokens)), (rows - NATURAL) @ SLOPES)


@pytest.mark.parametrize("seed", range(5))
def test_improvement_is_that_of_simulation(seed):
    rng = np.random.default_rng(seed)
    mean, effects = rng.normal(size=6), rng.normal(size=6)
    effects[1], mean[2] = effects[0], mean[3]
    simulated = (mean + np.outer(rng.standard_normal(400_000), effects)).max(axis=1).mean()
    assert expected_improvement(mean, effects) == pytest.approx(simulated - mean.max(), abs=5e-3)


def test_an_observation_that_tells_nothing_improves_nothing():
    assert expected_improvement(np.array([0.0, 0.4]), np.zeros(2)) == 0
    assert expected_improvement(np.array([0.0, 0.4]), np.array([0.0, 0.1])) > 0


def test_a_run_of_a_contender_is_worth_more_than_one_near_natural():
    values = value_of_runs(MODEL.condition(None), at(ROWS, 4e5), at(ROWS, 4e5), BOTH)
    assert (values >= 0).all()
    assert values[2] < 0.5 * max(values[:2])


def test_value_is_that_of_simulated_runs():
    """The expected maximum after a run, over runs drawn from the prior and a refitted posterior."""
    rng, choices = np.random.default_rng(0), at(ROWS, 4e5)
    option = at(ROWS[:1], 1e5)
    prior = MODEL.condition(None)
    before = max(0.0, (prior.gains(choices)[0] @ BOTH[0]).max())
    # a run tells each metric; the value counts the utility alone, so it is a lower bound near it
    best = []
    for _ in range(1500):
        gain = prior.draw(option, None, 1, rng)[0] + 0.2 * rng.standard_normal((1, 2))
        run = Runs(option.ratios, option.tokens, option.proxy_gains, gain, np.zeros(1, int))
        mean = MODEL.condition(run).gains(choices)[0] @ BOTH[0]
        best.append(max(0.0, mean.max()))
    simulated = np.mean(best) - before
    (value,) = value_of_runs(prior, choices, option, BOTH)
    assert value <= simulated + 3 * np.std(best) / 1500**0.5
    assert value > 0.4 * simulated


def test_what_was_trained_many_times_is_worth_little_more():
    option = at(ROWS[:1], 4e5)
    gains = np.tile(option.proxy_gains, (20, 1))
    run = Runs(np.tile(option.ratios, (20, 1)), np.full(20, 4e5), gains,
               gains, np.arange(20))  # fmt: skip
    choices = at(ROWS, 4e5)
    before = value_of_runs(MODEL.condition(None), choices, option, BOTH)
    after = value_of_runs(MODEL.condition(run), choices, option, BOTH)
    assert after[0] < 0.3 * before[0]


def test_the_worst_capability_is_valued_by_its_own_uncertainty():
    worst = np.eye(2)
    values = value_of_runs(MODEL.condition(None), at(ROWS, 4e5), at(ROWS, 4e5), worst)
    assert (values >= 0).all()
    assert values.max() > 0


def test_a_run_is_worth_less_where_its_noise_is_shared_by_the_metrics():
    """Only the noise of the run differs: the prior correlates gains by `within`, alike in both."""
    options, choices = at(ROWS, 1e5), at(ROWS, 4e5)
    values = []
    for noise_within in (0.0, 0.9):
        prior = GainPrior(noise_within=noise_within)
        model = GainModel(prior, NATURAL, 1e5, np.ones(2), np.array([0, 0]), np.full(2, 2.0))
        values.append(value_of_runs(model.condition(None), choices, options, BOTH))
    assert (values[1][:2] < 0.95 * values[0][:2]).all()


def test_where_natural_may_not_be_chosen_runs_are_worth_what_they_tell_of_the_others():
    """All choices are far worse than natural: beside natural a run tells nothing that matters."""
    rows = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    choices = Mixtures(rows, np.full(2, 4e5), np.full((2, 2), -9.0))
    options = Mixtures(rows, np.full(2, 1e5), np.full((2, 2), -9.0))
    base = Mixtures(ROWS[2:], np.array([4e5]), np.full((1, 2), -9.0))
    assert value_of_runs(MODEL.condition(None), choices, options, BOTH).max() < 1e-3
    over = MODEL.condition(None, base)
    assert value_of_runs(over, choices, options, BOTH).max() > 0.1
    # a run of the base itself tells as much of a difference as its own uncertainty allows
    assert value_of_runs(over, choices, base, BOTH)[0] > 0
