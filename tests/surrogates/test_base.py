import numpy as np
import pytest

from mixopt.surrogates.base import as_seed


def test_an_integer_is_its_own_seed_and_a_generator_is_advanced():
    assert as_seed(7) == 7
    generator = np.random.default_rng(0)
    first, second = as_seed(generator), as_seed(generator)
    assert first != second
    assert as_seed(np.random.default_rng(0)) == first


@pytest.mark.parametrize("seed", [np.random.default_rng(1), None])
def test_a_drawn_seed_is_one_that_lightgbm_takes(seed):
    assert 0 <= as_seed(seed) < 2**31
