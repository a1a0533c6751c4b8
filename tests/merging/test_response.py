import numpy as np
import pytest

from mixopt.merging.response import merge_weights


def test_small_shares_count_more():
    assert merge_weights([0.25, 0.75], 1.0) == [0.25, 0.75]
    weights = merge_weights([0.04, 0.96], 0.5)
    assert weights == pytest.approx([0.2 / (0.2 + 0.96**0.5), 0.96**0.5 / (0.2 + 0.96**0.5)])
    assert weights[0] > 0.04


@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_experts_alone_and_the_base_stay_what_they_are(gamma):
    assert merge_weights([0, 1, 0], gamma) == [0.0, 1.0, 0.0]
    assert merge_weights([0, 0, 0], gamma) == [0.0, 0.0, 0.0]


def test_weights_stay_on_the_simplex_and_zeros_zero():
    weights = merge_weights([0.5, 0.0, 0.3, 0.2], 0.7)
    assert np.sum(weights) == pytest.approx(1)
    assert weights[1] == 0
