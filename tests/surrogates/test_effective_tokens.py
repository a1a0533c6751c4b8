import numpy as np
import pytest

from mixopt.errors import MixtureError
from mixopt.surrogates.effective_tokens import Repetition


@pytest.mark.parametrize(
    ("epochs", "worth"), [(1, 1.0), (2, 1.97), (4, 3.73), (8, 6.62), (16, 10.6), (40, 15.2)]
)
def test_effective_tokens_are_those_of_the_paper(epochs, worth):
    """From the constants of Muennighoff et al. (2305.16264)."""
    term = Repetition.of(("a",), {"a": 1.0}, budget_tokens=epochs)
    share, _ = term.effective(np.ones((1, 1)))
    assert share[0, 0] * epochs == pytest.approx(worth, abs=0.06)


def test_effective_shares_and_their_slopes():
    term = Repetition.of(("a", "b"), {"a": 1e9}, budget_tokens=1e10)
    ratios = np.array([[0.05, 0.95], [0.4, 0.6]])
    share, slope = term.effective(ratios)
    assert share[0].tolist() == [0.05, 0.95]  # half an epoch: every token is fresh
    assert share[1, 0] == pytest.approx(0.1 * (1 + 15.387756 * (1 - np.exp(-3 / 15.387756))))
    assert share[1, 1] == 0.6  # never runs out
    step = 1e-7
    above, _ = term.effective(ratios + step)
    assert slope == pytest.approx((above - share) / step, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (({"c": 1.0}, 1.0, 15.0), "no domain of this search"),
        (({"a": 0.0}, 1.0, 15.0), "must be positive"),
        (({"a": 1.0}, 0.0, 15.0), "budget is 0"),
        (({"a": 1.0}, 1.0, {"a": -1.0}), "must be positive"),
    ],
)
def test_numbers_that_mean_nothing(arguments, words):
    available, budget, saturation = arguments
    with pytest.raises(MixtureError, match=words):
        Repetition.of(("a", "b"), available, budget_tokens=budget, saturation=saturation)
