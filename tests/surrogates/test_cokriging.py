import numpy as np
import pytest

from mixopt.surrogates import cokriging
from mixopt.surrogates.cokriging import CoKriging
from mixopt.surrogates.linear import Ridge


class Proxy:
    """A proxy with a given truth, as sure as it is told to be."""

    def __init__(self, function, std=0.05):
        self.function, self.std = function, std

    def predict(self, ratios):
        return self.function(ratios)[:, None], np.full((len(ratios), 1), self.std)

    def mean(self, ratios, *, smooth=False):
        return self.predict(ratios)[0]

    def differences(self, ratios, reference):
        return self.mean(ratios) - self.mean(reference[None]), np.full((len(ratios), 1), self.std)


def cheap(r):
    return 2 * np.sqrt(r[:, 0]) - 1


def dear(r):
    return 0.8 * cheap(r) + 0.5 + 0.3 * r[:, 1]


def runs(n, seed=0, d=6):
    ratios = np.random.default_rng(seed).dirichlet(np.ones(d), n)
    return ratios, dear(ratios)[:, None], np.zeros((n, 1))


def test_eight_runs_correct_a_proxy_better_than_they_stand_alone():
    """The priors assume that the proxy is good, so few runs correct it a little."""
    fresh, truth, _ = runs(200, seed=1)

    def error(law):
        return np.square(law.fit(*runs(8)).predict(fresh)[0] - truth).mean()

    corrected = error(CoKriging(Proxy(cheap)))
    assert corrected < 0.3 * error(Ridge("sqrt"))
    assert corrected < 0.1 * np.square(cheap(fresh)[:, None] - truth).mean()  # the bias is gone


def test_a_wrong_proxy_is_unlearnt():
    fresh, truth, _ = runs(200, seed=1)
    misleading = CoKriging(Proxy(lambda r: -cheap(r)))
    mean, _ = misleading.fit(*runs(60)).predict(fresh)
    assert np.corrcoef(mean[:, 0], truth[:, 0])[0, 1] > 0.9


def test_slope_on_the_proxy_is_learnt():
    assert CoKriging(Proxy(cheap)).fit(*runs(60)).rho == pytest.approx(0.8, abs=0.15)


def test_a_doubtful_proxy_makes_doubtful_predictions():
    fresh = runs(5, seed=1)[0]
    _, sure = CoKriging(Proxy(cheap, 0.01)).fit(*runs(8)).predict(fresh)
    _, unsure = CoKriging(Proxy(cheap, 1.0)).fit(*runs(8)).predict(fresh)
    assert (unsure > sure + 0.3).all()


def test_of_many_runs_a_spread_choice_is_fitted_to(monkeypatch):
    fresh, truth, _ = runs(200, seed=1)
    whole, _ = CoKriging(Proxy(cheap)).fit(*runs(120)).predict(fresh)
    monkeypatch.setattr(cokriging, "MOST_RUNS", 60)
    monkeypatch.setattr(cokriging, "EXACT", 30)
    part = CoKriging(Proxy(cheap)).fit(*runs(120))
    assert part._posteriors[0].factor.shape == (60, 60)
    assert np.square(part.predict(fresh)[0] - truth).mean() < 0.01
    assert np.square(whole - truth).mean() < 0.01


def test_a_difference_is_that_of_the_means():
    law = CoKriging(Proxy(cheap)).fit(*runs(20))
    points = runs(5, seed=3)[0]
    difference, _ = law.contrast(points, points[0])
    assert difference == pytest.approx(law.mean(points) - law.mean(points[:1]), abs=1e-9)
