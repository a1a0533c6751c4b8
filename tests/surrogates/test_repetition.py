import numpy as np
import pytest

from mixopt.errors import MixtureError
from mixopt.surrogates.repetition import Repetition, effective_tokens, mixture_loss


@pytest.mark.parametrize(
    ("epochs", "worth"), [(1, 1.0), (2, 1.97), (4, 3.73), (8, 6.62), (16, 10.6), (40, 15.2)]
)
def test_effective_tokens_are_those_of_the_paper(epochs, worth):
    """METHODS §9.1, from the constants of 2305.16264."""
    assert effective_tokens(1.0, epochs) == pytest.approx(worth, abs=0.06)


def test_effective_shares_and_their_slopes():
    term = Repetition.of(("a", "b"), {"a": 1e9}, budget_tokens=1e10)
    ratios = np.array([[0.05, 0.95], [0.4, 0.6]])
    share, slope = term.effective(ratios)
    assert share[0].tolist() == [0.05, 0.95]  # half an epoch: every token is fresh
    assert share[1, 0] == pytest.approx(effective_tokens(1e9, 4e9) / 1e10)
    assert share[1, 1] == 0.6  # never runs out
    step = 1e-7
    above, _ = term.effective(ratios + step)
    assert slope == pytest.approx((above - share) / step, rel=1e-5)


def test_the_loss_of_a_scarce_domain_has_a_best_share():
    """2605.12715: too little of it starves the target, too much repeats it."""
    law = {"E": 1.5, "A": 400.0, "alpha": 0.3, "gamma": 0.0, "tau": 6.0, "r1": 10.0}
    losses = [mixture_loss(h, 1e8, 1e10, law=law) for h in (0.001, 0.2, 0.99)]
    assert losses[1] < min(losses[0], losses[2])
    more = mixture_loss(0.2, 1e9, 1e10, law=law)
    assert more < losses[1]  # more unique tokens never hurt


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
