import numpy as np
import pytest

from mixopt.surrogates.constant import Constant


def test_is_the_mean_with_a_touch_of_prior():
    scores = np.array([[1.0], [3.0], [np.nan]])
    mean, std = Constant().fit(np.eye(3), scores, np.zeros((3, 1))).predict(np.eye(3)[:2])
    assert mean == pytest.approx(4 / 3)
    assert (std > 1).all()
