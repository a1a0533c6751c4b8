import numpy as np

from mixopt.decision import CHANCE
from mixopt.estimate import Estimate
from mixopt.optimization.decision import decide, runs_needed


def draws(means, sds, n=20_000, seed=0):
    return np.random.default_rng(seed).normal(means, sds, size=(n, len(means)))


def test_the_highest_expected_gain_among_likely_ones_is_taken():
    choice = decide(draws([0.0, 0.3, 0.5, 0.6], [1e-9, 0.1, 0.2, 2.0]), np.zeros(4))
    # the last has the highest mean, and a chance of 62%
    assert choice.candidate == 2
    assert choice.moves


def test_natural_is_kept_where_nothing_is_likely_and_the_best_is_shown():
    choice = decide(draws([0.1, 0.2, -0.5], [1.0, 1.0, 0.1]), np.zeros(3))
    assert not choice.moves
    assert choice.candidate == 1


def test_ties_go_to_what_was_trained():
    gains = draws([0.50, 0.49, 0.46], [0.1, 0.1, 0.1])
    choice = decide(gains, np.array([0.4, 0.1, 0.0]))
    assert choice.candidate == 1
    assert choice.ties == (0, 1)
    assert decide(gains, np.array([0.4, 0.1, 0.0]), tie=0.0).candidate == 0


def test_natural_is_kept_for_a_gain_that_counts_as_none():
    choice = decide(draws([0.01, 0.005], [0.001, 0.001]), np.zeros(2))
    assert (choice.candidate, choice.moves) == (0, False)
    assert decide(draws([0.03], [0.001]), np.zeros(1)).moves


def test_runs_are_needed_until_the_chance_is_what_a_move_needs():
    gain, noise = Estimate(0.1, 0.3), 0.25
    runs = runs_needed(gain, noise)
    after = [Estimate(0.1, (1 / 0.3**2 + k / noise**2) ** -0.5).chance for k in (runs, runs - 1)]
    assert after[0] >= CHANCE > after[1]
    assert runs_needed(Estimate(0.4, 0.3), noise) == 1
    # runs that measure something else leave a part of the variance
    assert runs_needed(gain, noise, (0.09, 0.05)) == np.inf
    assert runs <= runs_needed(gain, noise, (0.09, 0.088)) < np.inf
