import numpy as np
import pytest
from scipy.optimize import least_squares

from mixopt.surrogates import least_squares as blocks
from mixopt.surrogates.least_squares import Prior, hessian, levenberg_marquardt, update_noise

X = np.linspace(0, 1, 30)


def curve(theta):
    """a + exp(b·x) for each metric."""
    power = np.exp(theta[:, 1:2] * X)
    return theta[:, :1] + power, np.stack([np.ones_like(power), power * X], axis=2)


def example():
    rng = np.random.default_rng(0)
    truth = np.array([[0.5, -1.0], [-0.3, 0.8]])
    z = curve(truth)[0] + 0.05 * rng.normal(size=(2, 30))
    prior = Prior(np.zeros((2, 2)), np.full((2, 2), 0.1))
    return z, np.full((2, 30), 0.05**2), prior


def test_ends_where_scipy_does():
    z, variance, prior = example()
    ends, costs = levenberg_marquardt(curve, np.zeros((2, 2)), z, variance, prior, 40)
    for m in range(2):

        def miss(theta, m=m):
            data = (curve(theta[None])[0][0] - z[m]) / np.sqrt(variance[m])
            return np.concatenate([data, theta * np.sqrt(prior.precisions[m])])

        found = least_squares(miss, np.zeros(2))
        assert ends[m] == pytest.approx(found.x, abs=1e-4)
        assert costs[m] == pytest.approx(found.cost, rel=1e-4)


def test_a_metric_that_has_arrived_waits_for_the_rest():
    z, variance, prior = example()
    at_end, _ = levenberg_marquardt(curve, np.zeros((2, 2)), z, variance, prior, 40)
    start = np.stack([at_end[0], [0.3, -0.2]])
    ends, _ = levenberg_marquardt(curve, start, z, variance, prior, 40)
    assert ends == pytest.approx(at_end, abs=1e-3)


def test_blocks_of_metrics_change_nothing(monkeypatch):
    z, variance, prior = example()
    ends, costs = levenberg_marquardt(curve, np.zeros((2, 2)), z, variance, prior, 40)
    calls = []

    def counted(theta):
        calls.append(len(theta))
        return curve(theta)

    monkeypatch.setattr(blocks, "BLOCK", 30 * 2)  # one metric's Jacobian
    one, other = levenberg_marquardt(counted, np.zeros((2, 2)), z, variance, prior, 40)
    assert set(calls) == {1}
    assert one == pytest.approx(ends, abs=1e-12)
    assert other == pytest.approx(costs)


def test_hessian_has_the_prior_on_its_diagonal():
    _, jacobian = curve(np.zeros((2, 2)))
    prior = Prior(np.zeros((2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]]))
    matrix = hessian(jacobian, np.ones((2, 30)), prior)
    bare = np.einsum("mnp,mnq->mpq", jacobian, jacobian)
    assert matrix[1] - bare[1] == pytest.approx(np.diag([3.0, 4.0]))


def test_noise_is_that_of_the_residuals_and_ignores_missing_scores():
    rng = np.random.default_rng(0)
    residuals = 0.3 * rng.normal(size=(1, 4000))
    none = np.zeros((1, 4000, 1))
    extra = np.zeros((1, 4000))
    residuals[0, 2000:], extra[0, 2000:] = 100.0, np.inf
    noise = np.array([0.1])
    for _ in range(5):
        noise = update_noise(residuals, none, np.zeros((1, 1, 1)), extra, noise)
    assert noise[0] == pytest.approx(0.09, rel=0.1)
