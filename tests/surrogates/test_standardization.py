import numpy as np
import pytest

from mixopt.surrogates.standardization import Standardization

SCALES = Standardization(np.array([10.0, 0.5, 3.0]), np.array([2.0, -0.1, 0.0]))


def test_lower_is_better_and_metrics_that_do_not_differ_are_left_out():
    z = SCALES.transform(np.array([[12.0, 0.6, 3.0], [8.0, 0.4, 3.0]]))
    assert z == pytest.approx(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert SCALES.varying.tolist() == [True, True, False]


def test_scores_come_back_in_their_own_units():
    z, stds = np.array([[1.0, -1.0]]), np.array([[0.5, 0.5]])
    values, errors = SCALES.untransform(z, stds)
    assert values == pytest.approx(np.array([[12.0, 0.6, 3.0]]))
    assert errors == pytest.approx(np.array([[1.0, 0.05, 0.0]]))
    assert SCALES.transform(values) == pytest.approx(z)


def test_variances_of_unknown_errors_are_zero():
    variances = SCALES.transform_variances(np.array([[1.0, np.nan, 0.2]]))
    assert variances == pytest.approx(np.array([[0.25, 0.0]]))
