import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern

from mixopt.surrogates import kernels
from mixopt.surrogates.kernels import (
    KernelExpansions,
    matern52,
    matern52_slope,
    sqrt_derivative,
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


def test_slope_of_a_root_is_finite_at_zero():
    assert np.isfinite(sqrt_derivative(np.zeros(3))).all()
    assert sqrt_derivative(np.array([0.25])) == pytest.approx(1.0)


def example():
    rng = np.random.default_rng(0)
    points, alphas = rng.normal(size=(6, 3)), rng.normal(size=(4, 6))
    return points, alphas, rng.uniform(0.5, 2, size=(4, 3)), rng.normal(size=(5, 3))


def test_values_are_the_sums_one_by_one():
    points, alphas, scales, x = example()
    by_hand = np.stack([
        matern52(square_distances(x * s, points * s), 1.0) @ a
        for s, a in zip(scales, alphas, strict=True)
    ])  # fmt: skip
    assert KernelExpansions(points, alphas, scales).values(x) == pytest.approx(by_hand)


def test_chunks_change_nothing(monkeypatch):
    points, alphas, scales, x = example()
    weights = np.ones((4, 5))
    whole = KernelExpansions(points, alphas, scales)
    values, gradient = whole.values(x), whole.gradient(x, weights)
    monkeypatch.setattr(kernels, "CHUNK", 1)
    assert whole.values(x) == pytest.approx(values)
    assert whole.gradient(x, weights) == pytest.approx(gradient)
