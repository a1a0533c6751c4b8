import numpy as np
import pytest

from mixopt.surrogates.code_law import _CodeLaw, code_law


def parameters(d=3):
    floors, scale, exponents = np.full(d, -1.0), [0.5], np.array([1.0, -0.5, 0.3])
    synergies = np.array([2.0, 0.0, -0.4])
    return np.concatenate([floors, scale, exponents, synergies])[None]


def test_the_formula_by_hand():
    p = np.array([[0.5, 0.3, 0.2]])
    gain = 1 + 2.0 * 0.15 + 0.0 * 0.1 - 0.4 * 0.06
    expected = -1 + np.exp(0.5 - (0.5 - 0.15 + 0.06)) / gain
    assert _CodeLaw().evaluate(parameters(), p)[0][0, 0] == pytest.approx(expected)


def test_jacobian_is_the_derivative():
    theta, step = parameters(), 1e-6
    ratios = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    _, jacobian = _CodeLaw().evaluate(theta, ratios)
    for p in range(theta.shape[1]):
        unit = step * np.eye(theta.shape[1])[p]
        above, below = (_CodeLaw().evaluate(theta + s * unit, ratios)[0] for s in (1, -1))
        assert jacobian[..., p] == pytest.approx((above - below) / (2 * step), abs=1e-6)


def test_finds_a_synergy_that_no_sum_of_domains_has():
    rng = np.random.default_rng(0)
    ratios, fresh = rng.dirichlet(np.ones(3), 60), rng.dirichlet(np.ones(3), 60)

    def truth(r):
        return _CodeLaw().evaluate(parameters(), r)[0].T

    mean, _ = code_law().fit(ratios, truth(ratios), np.zeros((60, 1))).predict(fresh)
    assert mean == pytest.approx(truth(fresh), abs=0.08)
