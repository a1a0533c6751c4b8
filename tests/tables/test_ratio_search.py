"""Ratios are found among columns of any name by their values, where one set of columns fits."""

import numpy as np
import pytest

from mixopt.tables.ratio_search import search_ratios, sum_to_one

RNG = np.random.default_rng(3)
RATIOS = RNG.dirichlet(np.ones(4), size=30)
METRICS = RNG.uniform(0.2, 0.6, size=(30, 3))
CONSTANT = np.tile([0.1, 0.0], (30, 1))


def stack(*parts):
    return np.column_stack(parts)


@pytest.mark.parametrize("digits", [3, 4, 15])
@pytest.mark.parametrize("n", [5, 30])
def test_the_ratios_among_metrics_and_settings(digits, n):
    values = stack(METRICS[:, :2], RATIOS.round(digits), CONSTANT, METRICS[:, 2:] * 40)[:n]
    assert search_ratios(values) == [2, 3, 4, 5]


def test_all_columns_also_where_one_is_constant():
    values = stack(RATIOS * 0.9, np.full(30, 0.1))
    assert search_ratios(values) == [0, 1, 2, 3, 4]


def test_the_largest_set_counts():
    accuracy = METRICS[:, :1]
    values = stack(accuracy, RATIOS, 1 - accuracy)  # accuracy and error sum to one too
    assert search_ratios(values) == [1, 2, 3, 4]


def test_a_tiny_column_is_a_ratio_where_the_sum_needs_it():
    tiny = RNG.uniform(0, 0.001, size=(30, 1))
    assert search_ratios(stack(RATIOS * (1 - tiny), tiny, METRICS[:, :1])) == [0, 1, 2, 3, 4]
    assert search_ratios(stack(RATIOS, tiny, METRICS[:, :1])) == [0, 1, 2, 3]


def test_two_sets_of_one_size_are_ambiguous():
    second = RNG.dirichlet(np.ones(4), size=30)  # of a second phase
    assert search_ratios(stack(RATIOS, second)) is None


def test_no_set():
    assert search_ratios(METRICS) is None
    assert search_ratios(RATIOS[:2, :2]) is None
    assert search_ratios(stack(RATIOS[:, :3], METRICS)) is None
    assert search_ratios(RNG.uniform(size=(4, 40))) is None  # far fewer runs than columns


def test_a_wrong_row_does_not_hide_the_ratios():
    wrong = stack(RATIOS, METRICS)
    wrong[7, 0] += 0.3
    assert search_ratios(wrong) == [0, 1, 2, 3]
    assert sum_to_one(wrong[:, :4])
    wrong[:8, 0] += 0.3
    assert not sum_to_one(wrong[:, :4])


def test_thirds_of_two_digits_are_ratios():
    assert sum_to_one(np.full((4, 3), 0.33))
