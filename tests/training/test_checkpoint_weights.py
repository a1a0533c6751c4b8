import numpy as np
import pytest

from mixopt.training.checkpoint_weights import DECAYS, EMA_DECAY, checkpoint_weights

KINDS = ["mean", "linear", "cosine", "1-sqrt", "ema"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_weights_are_a_mixture_in_which_the_newest_counts(kind, n):
    weights = checkpoint_weights(kind, n)
    assert weights.shape == (n,)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert weights[-1] > 0.005


@pytest.mark.parametrize("kind", ["linear", "cosine", "1-sqrt"])
@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_average_is_where_decayed_steps_lead(kind, floor):
    """Theorem 3.1: the steps of a constant rate, scaled by the decay, end at the average."""
    rng = np.random.default_rng(0)
    n = 6
    steps = rng.normal(size=(n - 1, 3))
    checkpoints = 1.0 + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    shares = floor + (1 - floor) * DECAYS[kind](np.arange(1, n) / n)
    decayed = 1.0 + shares @ steps
    assert np.allclose(checkpoint_weights(kind, n, floor=floor) @ checkpoints, decayed)


def test_linear_decay_is_the_mean():
    assert np.allclose(checkpoint_weights("linear", 7), checkpoint_weights("mean", 7))


def test_moving_average_is_its_recursion_and_the_papers_figures():
    values = np.random.default_rng(0).normal(size=10)
    average = values[0]
    for value in values[1:]:
        average = EMA_DECAY * average + (1 - EMA_DECAY) * value
    weights = checkpoint_weights("ema", 10)
    assert weights @ values == pytest.approx(average)
    assert weights[[0, 1, -1]].round(3).tolist() == [0.126, 0.033, 0.206]  # WSM, figure 2
