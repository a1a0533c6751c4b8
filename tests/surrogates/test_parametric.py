import numpy as np
import pytest

from mixopt.surrogates.exponential import Exponential
from mixopt.surrogates.parametric import ParametricModel


def example(n=40, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(3), n)
    scores = -1.5 + np.exp(0.5 - 2.0 * ratios[:, :1] + ratios[:, 1:2])
    return ratios, scores + noise * rng.normal(size=(n, 1)), np.zeros((n, 1))


def test_noise_and_doubt_have_the_right_size():
    ratios, scores, zero = example(200)
    law = ParametricModel(Exponential()).fit(ratios, scores, zero)
    mean, std = law.predict(ratios)
    assert std.mean() == pytest.approx(0.1, rel=0.2)
    assert np.sqrt(np.square(mean - example(200, noise=0.0)[1]).mean()) < 0.04


def test_huber_is_not_moved_by_an_outlier():
    ratios, scores, zero = example()
    truth = example(noise=0.0)[1]
    scores[0] += 20.0
    plain = ParametricModel(Exponential()).fit(ratios, scores, zero).predict(ratios)[0]
    robust = (
        ParametricModel(Exponential(), huber=1.345).fit(ratios, scores, zero).predict(ratios)[0]
    )
    assert np.abs(robust - truth)[1:].mean() < 0.7 * np.abs(plain - truth)[1:].mean()
