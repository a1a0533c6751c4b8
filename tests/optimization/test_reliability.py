import numpy as np
import pytest
from scipy.stats import kendalltau

from mixopt.optimization.reliability import LEAST_TRUST, measure_reliability


def items(n, count, spread, noise, seed=0):
    """Item values of n candidates whose true scores have a spread; items are differently hard."""
    rng = np.random.default_rng(seed)
    ability = spread * rng.normal(size=(n, 1))
    return 5 * rng.normal(size=count) + ability + noise * rng.normal(size=(n, count))


def test_halves_agree_where_candidates_differ():
    found = measure_reliability("b", items(16, 200, 1.0, 1.0), np.ones(200))
    assert found.is_reliable
    assert found.tau > 0.8
    assert found.trust == 1


def test_noise_passes_in_fewer_than_five_cases_of_a_hundred():
    passed = [
        measure_reliability("b", items(16, 60, 0.0, 1.0, seed), np.ones(60), seed).is_reliable
        for seed in range(100)
    ]
    assert np.mean(passed) <= 0.05


def test_noise_weighs_little_and_is_named_with_the_items_it_needs():
    found = measure_reliability("quiz", items(16, 60, 0.02, 1.0, 3), np.ones(60))
    assert not found.is_reliable
    assert found.trust < 0.5
    assert "'quiz' cannot be told from noise" in found.sentence
    assert found.items_needed > 60


def test_a_benchmark_that_is_the_same_everywhere_tells_nothing():
    found = measure_reliability("b", np.ones((8, 10)), np.ones(10))
    assert (found.tau, found.is_reliable, found.trust) == (0, False, LEAST_TRUST)


def test_candidates_that_hardly_differ_need_more_items_than_there_are():
    """Most pairs of candidates alike on every item: the median pair has no noise at all."""
    values = np.zeros((10, 48))
    values[:, :20] = 1
    values[0, 30], values[1, 31], values[2, 32] = 1, 1, 1
    found = measure_reliability("b", values, np.ones(48))
    assert not found.is_reliable
    assert found.items_needed > 48
    none = measure_reliability("b", np.ones((10, 48)), np.ones(48))
    assert "No two candidates differ" in none.sentence


def test_one_candidate_far_from_fifteen_that_are_alike_needs_no_more_items():
    values = items(16, 200, 0.0, 1.0)
    values[0] += 1
    found = measure_reliability("b", values, np.ones(200))
    assert not found.is_reliable
    assert found.items_needed <= 200
    assert "items would make" not in found.sentence
    assert found.sentence.endswith(
        "Its items show what sets a few candidates apart; the others are alike on it."
    )


def test_the_whole_length_is_predicted_from_the_halves():
    """Spearman-Brown, against twins of the whole benchmark."""
    predicted, found = [], []
    for seed in range(20):
        both = items(30, 160, 0.1, 1.0, seed)
        first, second = both[:, :80], both[:, 80:]
        predicted.append(measure_reliability("b", first, np.ones(80), seed).whole)
        found.append(kendalltau(first.sum(axis=1), second.sum(axis=1)).statistic)
    assert np.mean(predicted) == pytest.approx(np.mean(found), abs=0.08)


def test_items_needed_make_a_usual_difference_visible():
    """Differences that are normal are seen in half of the cases where their spread is seen in 80%."""
    n, few, shares = 12, 100, []
    for seed in range(10):
        found = measure_reliability("b", items(n, few, 0.2, 1.0, seed), np.ones(few))
        values = items(n, found.items_needed, 0.2, 1.0, seed)
        gaps = [values[a] - values[b] for a in range(n) for b in range(a)]
        seen = [abs(gap.mean()) > 1.96 * gap.std() / np.sqrt(len(gap)) for gap in gaps]
        shares.append(np.mean(seen))
    assert np.mean(shares) == pytest.approx(0.51, abs=0.1)


def test_sizes_count():
    values, sizes = items(10, 50, 1.0, 0.1), np.ones(50)
    sizes[0], values[:, 0] = 1e6, 0.0
    assert measure_reliability("b", values, sizes).tau > 0  # one half has the giant, in all alike
