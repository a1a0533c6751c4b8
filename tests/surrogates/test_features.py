import numpy as np
import pytest

from mixopt.surrogates.features import LOG_SHARES, RATIOS, ROOTS


@pytest.mark.parametrize("features", [RATIOS, ROOTS, LOG_SHARES])
def test_slopes_are_derivatives(features):
    ratios, step = np.array([[0.05, 0.35, 0.6]]), 1e-7
    numeric = (features.values(ratios + step) - features.values(ratios - step)) / (2 * step)
    assert features.slopes(ratios) == pytest.approx(numeric, rel=1e-5)


def test_zero_has_a_logarithm():
    assert np.isfinite(LOG_SHARES.values(np.zeros((1, 2)))).all()
