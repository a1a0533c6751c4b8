import numpy as np
import pytest

from mixopt.surrogates.features import FEATURES, scale_features
from mixopt.surrogates.linear import Ridge


@pytest.mark.parametrize("features", FEATURES.values())
def test_slopes_are_derivatives(features):
    ratios, step = np.array([[0.05, 0.35, 0.6]]), 1e-7
    numeric = (features.values(ratios + step) - features.values(ratios - step)) / (2 * step)
    assert features.derivative(ratios) == pytest.approx(numeric, rel=1e-5)


def test_zero_has_a_logarithm():
    assert np.isfinite(FEATURES["log"].values(np.zeros((1, 2)))).all()


def test_roots_have_one_scale_and_other_features_their_own():
    spread = np.array([0.3, 0.4, 0.0])
    assert scale_features("sqrt", spread) == pytest.approx(np.full(3, np.sqrt(0.25 / 3)))
    assert scale_features("log", spread).tolist() == [0.3, 0.4, 1.0]
    assert scale_features("sqrt", np.zeros(3)).tolist() == [1.0] * 3


def test_a_domain_that_hardly_varied_has_no_leverage():
    """The noise of the scores, read as the effect of a share up to 0.12%, says little of 5%."""
    rng = np.random.default_rng(0)
    rare = rng.uniform(0, 0.0012, size=(30, 1))
    ratios = np.hstack([rng.dirichlet([4, 4, 2], 30) * (1 - rare), rare])
    scores = rng.normal(size=(30, 6)) + 2 * ratios[:, :1]
    model = Ridge("sqrt").fit(ratios, scores, np.zeros(scores.shape))
    usual = np.array([[0.4, 0.4, 0.2, 0.0], [0.38, 0.38, 0.19, 0.05]])
    effect, _ = model.contrast(usual[1:], usual[0])
    reach, _ = model.contrast(np.array([[0.6, 0.2, 0.2, 0.0]]), usual[0])
    assert np.abs(effect).mean() < np.abs(reach).mean()
