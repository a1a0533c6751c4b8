import numpy as np
import pytest

from mixopt.surrogates.exponential import Exponential, data_mixing_law, log_linear


def test_the_formula_by_hand():
    theta = np.array([[-1.0, 0.3, 2.0, -1.0]])
    value = Exponential().evaluate(theta, np.array([[0.25, 0.75]]))[0][0, 0]
    assert value == pytest.approx(-1 + np.exp(0.3 + 0.5 - 0.75))


def test_jacobian_is_the_derivative():
    theta, step = np.array([[-1.0, 0.3, 2.0, -1.0]]), 1e-6
    ratios = np.random.default_rng(0).dirichlet(np.ones(2), 4)
    _, jacobian = Exponential().evaluate(theta, ratios)
    for p in range(4):
        unit = step * np.eye(4)[p]
        above, below = (Exponential().evaluate(theta + s * unit, ratios)[0] for s in (1, -1))
        assert jacobian[..., p] == pytest.approx((above - below) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("make", [data_mixing_law, log_linear])
def test_recovers_its_own_law(make):
    rng = np.random.default_rng(0)
    ratios, fresh = rng.dirichlet(np.ones(3), 40), rng.dirichlet(np.ones(3), 50)

    def truth(r):
        return (-1.2 + np.exp(0.3 + r @ [-2.0, 0.5, 1.0]))[:, None]

    mean, _ = make().fit(ratios, truth(ratios), np.zeros((40, 1))).predict(fresh)
    assert mean == pytest.approx(truth(fresh), abs=0.05)
