import warnings

import numpy as np
import pytest

from mixopt import Metric
from mixopt.errors import TrialsError
from mixopt.surrogates.metric_arrays import (
    deviations,
    metric_shares,
    propagate_errors,
    reduce_columns,
    signs,
)

METRICS = [Metric("l1", "lower", "x"), Metric("l2", "lower", "x"), Metric("acc", "higher", "y")]


def test_a_sign_by_direction():
    assert signs(METRICS).tolist() == [-1, -1, 1]


def test_a_column_is_reduced_over_what_it_has():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        means = reduce_columns(np.mean, values)
    assert means[:2].tolist() == [2, 5]
    assert np.isnan(means[2])


def test_shares_sum_to_one_by_weight_and_trust():
    shares = metric_shares(METRICS, {"x": 3.0}, np.array([True, True, True]), {"l2": 0.5})
    assert shares == pytest.approx([0.75 / 1.5, 0.75 * 0.5 / 1.5, 0.25])
    assert metric_shares(METRICS, {}, np.array([True, False, False]), {}).tolist() == [1, 0, 0]
    with pytest.raises(TrialsError, match="No capability"):
        metric_shares(METRICS, {"x": 0.0}, np.array([True, True, False]), {})


def test_errors_of_a_difference_shrink_as_they_are_correlated():
    errors, gradient = np.array([[3.0, 4.0]]), np.array([[1.0, -1.0]])
    assert propagate_errors(errors, gradient) == pytest.approx([5])
    alike = np.array([[1.0, 0.9], [0.9, 1.0]])
    assert propagate_errors(errors, gradient, alike) == pytest.approx([np.sqrt(25 - 2 * 0.9 * 12)])
    # a matrix of pairwise estimates that is no covariance gives no NaN
    assert propagate_errors(np.ones((1, 2)), gradient, np.full((2, 2), 1 + 1e-9))[0] >= 0


def test_a_missing_score_matters_only_where_the_function_depends_on_it():
    errors = np.array([[np.nan, 2.0]])
    assert propagate_errors(errors, np.array([[0.0, 1.0]])) == pytest.approx([2])
    assert np.isnan(propagate_errors(errors, np.array([[1.0, 1.0]]))).all()


def test_values_that_differ_in_their_last_digits_do_not_vary():
    """The mean of 24 times 0.1 is not 0.1, so their deviation is not 0 as computed."""
    values = np.column_stack([np.full(24, 0.1), np.arange(24.0), np.full(24, np.nan)])
    assert np.std(values[:, 0]) > 0
    found = deviations(values)
    assert found[0] == 0
    assert found[1] == pytest.approx(np.std(np.arange(24)))
    assert np.isnan(found[2])
