import numpy as np
import pytest

from mixopt.surrogates.features import FEATURES


@pytest.mark.parametrize("features", FEATURES.values())
def test_slopes_are_derivatives(features):
    ratios, step = np.array([[0.05, 0.35, 0.6]]), 1e-7
    numeric = (features.values(ratios + step) - features.values(ratios - step)) / (2 * step)
    assert features.derivative(ratios) == pytest.approx(numeric, rel=1e-5)


def test_zero_has_a_logarithm():
    assert np.isfinite(FEATURES["log"].values(np.zeros((1, 2)))).all()
