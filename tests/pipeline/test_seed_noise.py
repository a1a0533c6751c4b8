"""How much scores and gains differ by the seed alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from mixopt.pipeline.seed_noise import measure_noise, shrink_noise
from mixopt.surrogates.gain_model import Runs


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_the_noise_of_two_seeds_is_right_on_average(noise):
    rng = np.random.default_rng(0)
    spreads = rng.uniform(0.5, 2, size=4000)
    squares = np.square(noise * spreads * rng.standard_normal(4000))
    variances = np.square(shrink_noise(squares, spreads) / spreads)
    assert variances.mean() == pytest.approx(noise**2, rel=0.1)


def test_noise_comes_from_repeated_runs_and_is_shrunk():
    assert measure_noise(None, np.full(3, np.nan), 0.2) == pytest.approx([0.2] * 3)
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.dirichlet(np.ones(3), size=40), 3, axis=0)
    noise = rng.normal(0, [0.1, 0.1, 1.0], size=(120, 3))
    runs = Runs(rows, np.full(120, 1e3), noise, noise, np.tile(np.arange(3), 40))
    found = measure_noise(runs, np.full(3, np.nan), 0.2)
    assert found == pytest.approx([0.1, 0.1, 1.0], rel=0.2)


def test_two_seeds_of_natural_count_as_one_difference():
    """Before, a study was as sure of its runs as is usual, however much natural's seeds differ."""
    found = measure_noise(None, np.array([3.0, 1.0, np.nan]), 0.2)
    pooled = (5 / chi2.median(1) + 2 * 0.2**2) / 3
    assert found[:2] == pytest.approx(np.sqrt((np.array([9.0, 1.0]) + 2 * pooled) / 3))
    assert found[2] == pytest.approx(np.sqrt(pooled))
    assert measure_noise(None, np.zeros(2), 0.2) == pytest.approx(2 / 3 * 0.2)
    rows, gains = np.tile([0.5, 0.5], (2, 1)), np.array([[0.0], [2.0]])
    pair = Runs(rows, np.full(2, 1e3), np.zeros((2, 1)), gains, np.arange(2))
    both = measure_noise(pair, np.array([4.0]), 0.2)
    pooled = (2 * 18 / chi2.median(2) + 2 * 0.2**2) / 4
    assert both == pytest.approx(np.sqrt((18 + 2 * pooled) / 4))


def test_one_noisy_metric_makes_no_other_noisy():
    """As mbpp of a pretrained base, whose two seeds differed by ten spreads: the others had 2.3."""
    found = measure_noise(None, np.array([0.3, 0.4, 0.5, 10.0]), 0.37)
    assert (found[:3] < 0.6).all()
    assert found[3] > 5


def test_a_metric_without_scores_says_nothing_of_the_noise():
    rng = np.random.default_rng(0)
    rows = np.tile([0.5, 0.5], (6, 1))
    noisy = rng.normal(0, 1, (6, 1))

    def noise_of(columns):
        runs = Runs(rows, np.full(6, 100.0), np.zeros(columns.shape), columns, np.arange(6))
        return measure_noise(runs, np.full(columns.shape[1], np.nan), 0.2)

    alone = noise_of(noisy)
    beside = noise_of(np.hstack([noisy, np.full((6, 1), np.nan)]))
    assert beside[0] == pytest.approx(alone[0])
    # without scores of its own it has what is pooled: five differences of the other, two usual ones
    squares = float(np.square(noisy - noisy.mean()).sum())
    assert beside[1] == pytest.approx(np.sqrt((5 * squares / chi2.median(5) + 2 * 0.2**2) / 7))


def test_ratios_that_went_through_a_file_are_the_same_mixture_and_a_run_counts_once():
    row = np.array([[0.2, 0.3, 0.5]])
    rows = np.vstack([row, row + [[1e-13, -1e-13, 0]]])
    gains = np.array([[0.0], [1.0]])
    pair = Runs(rows, np.full(2, 1e3), gains, gains, np.arange(2))
    assert measure_noise(pair, np.array([np.nan]), 0.2)[0] > 0.3
    twice = replace(pair, seeds=np.zeros(2, int))
    assert measure_noise(twice, np.array([np.nan]), 0.2)[0] == pytest.approx(0.2)
