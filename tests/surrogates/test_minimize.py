import numpy as np
import pytest

from mixopt.surrogates.minimize import minimize


def bowl(x):
    return float(np.square(x - 2).sum()), 2 * (x - 2)


def test_bounds_and_constraints_hold():
    bounds = np.array([[0.0, 1.0], [0.0, 5.0]])
    found = minimize(bowl, np.zeros(2), method="L-BFGS-B", bounds=bounds, steps=50)
    assert found == pytest.approx([1, 2], abs=1e-5)
    row = {"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones(2)}
    found = minimize(bowl, np.array([0.5, 0.5]), method="SLSQP", bounds=bounds, steps=50,
                     constraints=[row], tolerance=1e-12)  # fmt: skip
    assert found == pytest.approx([0.5, 0.5], abs=1e-5)


def test_without_a_gradient():
    found = minimize(lambda x: bowl(x)[0], np.zeros(2), method="L-BFGS-B",
                     bounds=np.array([[-5.0, 5.0]] * 2), steps=50, gradient=False)  # fmt: skip
    assert found == pytest.approx([2, 2], abs=1e-4)
