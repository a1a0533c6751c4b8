import numpy as np
import pytest

from mixopt.errors import UserError
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


def test_an_integer_of_numpy_is_the_same_seed():
    for seed in (3, np.int64(3), np.uint8(3)):
        assert as_seed(seed) == 3
        assert type(as_seed(seed)) is int
    assert as_seed(np.random.default_rng(0)) == as_seed(np.random.default_rng(0))
    assert as_seed([1, 2]) == as_seed([1, 2])


def test_what_is_no_seed():
    for seed, words in ((-1, "The seed is -1; give a whole"), ("0", "The seed is a str"),
                        (1.0, "The seed is a float"), ([-1], "The seed is a list")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            as_seed(seed)
