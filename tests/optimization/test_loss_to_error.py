import numpy as np
import pytest

from mixopt import Estimate
from mixopt.errors import TrialsError
from mixopt.optimization.loss_to_error import LossToError

REDPAJAMA = LossToError(0.857, 2.206, 0.715)  # 17 tasks of 2403.08540


def test_the_law_by_hand():
    error = REDPAJAMA.of(Estimate(3.0, 0.1))
    assert error.mean == pytest.approx(0.857 - 2.206 * np.exp(-0.715 * 3))
    assert error.std_error == pytest.approx(0.715 * 2.206 * np.exp(-0.715 * 3) * 0.1)


def test_constants_come_back_from_pairs():
    losses = np.linspace(2.2, 4.5, 12)
    fitted = LossToError.fit(
        losses, REDPAJAMA.epsilon - REDPAJAMA.k * np.exp(-REDPAJAMA.gamma * losses)
    )
    assert (fitted.epsilon, fitted.k, fitted.gamma) == pytest.approx(
        (0.857, 2.206, 0.715), rel=0.01
    )
    assert fitted.residual < 1e-4


def test_noise_of_the_pairs_is_doubt():
    rng = np.random.default_rng(0)
    losses = np.linspace(2.2, 4.5, 40)
    noisy = 0.857 - 2.206 * np.exp(-0.715 * losses) + 0.01 * rng.normal(size=40)
    fitted = LossToError.fit(losses, noisy)
    assert fitted.residual == pytest.approx(0.01, rel=0.4)
    assert fitted.of(Estimate(3.0, 0.0)).std_error == pytest.approx(fitted.residual)


@pytest.mark.parametrize("losses", [[3.0, 3.1, 3.2], [3.0, 3.0, 3.0, 3.0], [3.0, np.nan, 3.1, 3.2]])
def test_too_few_pairs(losses):
    with pytest.raises(TrialsError, match="pairs of loss and error are too few"):
        LossToError.fit(np.array(losses), np.full(len(losses), 0.5))


@pytest.mark.parametrize("errors", [[35.0, 40.0, 50.0, 60.0], [0.5, 0.4, 0.3, -0.1]])
def test_errors_are_shares(errors):
    with pytest.raises(TrialsError, match="errors are shares of the items from 0 to 1"):
        LossToError.fit(np.array([2.0, 2.5, 3.0, 3.5]), np.array(errors))


def test_a_benchmark_that_nothing_solves_has_an_error_of_one():
    fitted = LossToError.fit(np.array([2.0, 2.5, 3.0, 3.5]), np.ones(4))
    assert fitted.of(Estimate(2.7, 0.0)).mean == pytest.approx(1.0, abs=0.01)
