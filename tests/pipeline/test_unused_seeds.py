"""What the unused seeds of a confirmation gain, and what was expected of them."""

import numpy as np
import pytest

from mixopt.optimization.objective import Objective
from mixopt.pipeline.mixture_runs import FRESH
from mixopt.pipeline.unused_seeds import read_unused_seeds
from mixopt.surrogates.gain_model import GainModel, GainPrior, Runs
from mixopt.trial import Metric


def test_unused_seeds_have_the_noise_of_metrics_that_share_it():
    """Four metrics of one capability, with a correlation of their noise of .5."""
    model = GainModel(
        GainPrior(scale=1.0, noise_within=0.5), np.array([0.5, 0.5]), 1e5, np.ones(4), np.zeros(4, int),
        np.full(4, 0.2),
    )  # fmt: skip
    seeds = FRESH + np.arange(2)
    mine = np.tile([0.8, 0.2], (2, 1))
    runs = Runs(mine, np.full(2, 1e5), np.zeros((2, 4)), np.ones((2, 4)), seeds)
    metrics = tuple(Metric(f"loss {i}") for i in range(4))
    objective = Objective(metrics, np.ones(4), np.ones(4), {})
    found = read_unused_seeds(runs, mine[0], objective, model.condition(runs)).gain
    # variance of the mean of four: (1 + 3 * .5) / 4
    assert found.std_error == pytest.approx(0.2 * np.sqrt(2.5 / 4) / np.sqrt(2))
    assert found.mean == 1


@pytest.mark.parametrize("unit", ["z", "raw"])
def test_a_confirmation_is_in_the_unit_at_its_own_length(unit):
    """Its runs gain 0.5 spreads times the growth to their length, which is not that of the target."""
    prior, spread, noise = GainPrior(), 2.0, 0.3
    objective = Objective(
        (Metric("loss"),), np.array([spread]), np.ones(1), {}, unit=unit,
        growth=prior.growth_to(50.0),
    )  # fmt: skip
    model = GainModel(prior, np.array([0.5, 0.5]), 100.0, objective.spreads, np.zeros(1, int),
                      np.array([noise]))  # fmt: skip
    grown, candidate = prior.growth_to(4.0), np.array([0.9, 0.1])
    tokens, seeds = np.array([400.0, 400.0, 400.0, 100.0]), np.array([FRESH, FRESH + 1, 0, FRESH])
    gains = np.array([[0.4 * grown], [0.6 * grown], [9.0], [9.0]])
    runs = Runs(np.tile(candidate, (4, 1)), tokens, np.zeros((4, 1)), gains, seeds)
    unused = read_unused_seeds(runs, candidate, objective, model.condition(None))
    found = unused.gain
    scale = 1.0 if unit == "z" else spread * grown
    assert unused.tokens == 400
    assert found.mean == pytest.approx(0.5 * scale)
    assert found.std_error == pytest.approx(noise / grown * scale / np.sqrt(2))
    assert read_unused_seeds(runs, np.array([0.2, 0.8]), objective, model.condition(None)) is None
    assert read_unused_seeds(None, candidate, objective, model.condition(None)) is None


def test_a_confirmation_of_the_worst_capability_is_not_that_of_its_noise():
    """Six capabilities that gain the same: the least of each seed's would be of its noise."""
    rng, m, n = np.random.default_rng(0), 6, 400
    metrics = tuple(Metric(f"loss {i}", capability=f"c{i}") for i in range(m))
    objective = Objective(metrics, np.ones(m), np.ones(m), {}, worst=True)
    model = GainModel(GainPrior(scale=1.0), np.array([0.5, 0.5]), 1e5, np.ones(m), np.arange(m),
                      np.full(m, 0.3))  # fmt: skip
    mine = np.tile([0.8, 0.2], (n, 1))
    gains = 0.3 + 0.3 * rng.standard_normal((n, m))
    runs = Runs(mine, np.full(n, 1e5), np.zeros((n, m)), gains, FRESH + np.arange(n))
    found = read_unused_seeds(runs, mine[0], objective, model.condition(None)).gain
    assert found.mean == pytest.approx(0.3, abs=0.05)
    assert found.std_error == pytest.approx(0.3 / np.sqrt(n))


@pytest.mark.parametrize("seen", [False, True])
def test_what_was_expected_of_unused_seeds_is_in_their_unit_at_their_length(seen):
    prior, candidate, m = GainPrior(), np.array([0.9, 0.1]), 2
    objective = Objective(
        tuple(Metric(f"loss {i}") for i in range(m)), np.array([2.0, 0.5]), np.array([3.0, 1.0]), {},
        growth=prior.growth_to(50.0),
    )  # fmt: skip
    model = GainModel(prior, np.array([0.5, 0.5]), 100.0, objective.spreads, np.arange(m),
                      np.full(m, 1e-3))  # fmt: skip
    proxies, grown = np.array([[0.4, 0.8]]), prior.growth_to(4.0)
    runs = Runs(
        candidate[None], np.array([400.0]), proxies, np.array([[0.1, 0.3]]), np.array([FRESH])
    )
    unused = read_unused_seeds(runs, candidate, objective, model.condition(runs))
    before = Runs(candidate[None], np.array([400.0]), proxies, grown * np.array([[1.0, 3.0]]),
                  np.array([0]))  # fmt: skip
    expected = unused.expected_by(model.condition(before if seen else None))
    # weights 3 : 1; the prior expects what ensembles say, grown to the runs' length
    assert expected.mean == pytest.approx(1.5 if seen else 0.5, abs=0.02)
    assert (expected.std_error < 0.02) is seen
    assert expected.std_error > 0
