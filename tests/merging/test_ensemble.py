import numpy as np
import pytest

from mixopt.errors import ModelError
from mixopt.merging.ensemble import Ensemble


def test_mix_equals_the_logarithm_of_mixed_probabilities():
    rng = np.random.default_rng(0)
    logprobs = [np.log(rng.uniform(1e-6, 1, 50)).astype(np.float32) for _ in range(3)]
    alpha = np.array([0.2, 0.5, 0.3])
    by_hand = np.log(
        sum(a * np.exp(lp.astype(np.float64)) for a, lp in zip(alpha, logprobs, strict=True))
    )
    assert Ensemble(logprobs).mix(alpha) == pytest.approx(by_hand, abs=1e-12)


def test_one_expert_alone_is_itself():
    logprobs = [np.array([-1.0, -2.0], np.float32), np.array([-3.0, -0.5], np.float32)]
    assert Ensemble(logprobs).mix([0.0, 1.0]).tolist() == [-3.0, -0.5]


def test_very_unlikely_tokens_do_not_underflow():
    logprobs = [np.array([-2000.0], np.float32), np.array([-2001.0], np.float32)]
    mixed = Ensemble(logprobs).mix([0.5, 0.5])[0]
    assert mixed == pytest.approx(-2000 + np.log(0.5 * (1 + np.exp(-1))))


@pytest.mark.parametrize(
    ("weights", "words"),
    [([0.5, 0.6], "must sum to 1"), ([1.5, -0.5], "must not be negative"), ([1.0], "1 weights are"),
     ([float("nan"), 1.0], "must sum to 1")],
)  # fmt: skip
def test_weights_off_the_simplex_are_no_ensemble(weights, words):
    ensemble = Ensemble([np.array([-1.0], np.float32), np.array([-2.0], np.float32)])
    with pytest.raises(ModelError, match=words):
        ensemble.mix(weights)
