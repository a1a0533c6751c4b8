import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern

from mixopt.surrogates.kernels import (
    matern52,
    matern52_and_slope,
    matern52_slope,
    root_slope,
    square_distances,
)


def test_matern_is_the_one_of_scikit_learn():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(5, 3)), rng.normal(size=(7, 3))
    ours = matern52(square_distances(first, second), 0.8)
    assert ours == pytest.approx(Matern(0.8, nu=2.5)(first, second), abs=1e-12)


def test_slope_is_the_derivative_by_half_the_square():
    square, step = np.array([0.1, 1.0, 4.0]), 1e-6
    numeric = (matern52(square + 2 * step, 0.7) - matern52(square - 2 * step, 0.7)) / (2 * step)
    assert matern52_slope(square, 0.7) == pytest.approx(numeric, rel=1e-5)
    near, slope = matern52_and_slope(square)
    assert near == pytest.approx(matern52(square, 1.0))
    assert slope == pytest.approx(matern52_slope(square, 1.0))


def test_slope_of_a_root_is_finite_at_zero():
    assert np.isfinite(root_slope(np.zeros(3))).all()
    assert root_slope(np.array([0.25])) == pytest.approx(1.0)
