import numpy as np
import pytest

from mixopt.baselines.base import OnlineTraining
from mixopt.baselines.online import open_weights


def test_each_training_opens_its_own_weights():
    doremi = open_weights(OnlineTraining("doremi", 9, (), {"eta": 1.0, "smoothing": 0.0}), 3, 10)
    assert doremi.weights == pytest.approx(np.full(3, 1 / 3))
    start = (0.7, 0.2, 0.1)
    odm = open_weights(OnlineTraining("odm", 9, start, {"warmup": 0.5}), 3, 10)
    for _ in range(5):
        odm.update(np.ones(3), odm.shares)
    assert odm.shares == pytest.approx(start)
    odm.update(np.array([1.0, 1.0, 4.0]), odm.shares)
    assert odm.shares[2] > 0.2
    settings = {"rate": 0.1, "penalty": 7.0}
    pair = open_weights(OnlineTraining("scalebio", 9, (), settings), 3, 10)
    assert (pair.rate, pair.penalty) == (0.1, 7.0)
    assert pair.weights == pytest.approx(np.full(3, 1 / 3))
