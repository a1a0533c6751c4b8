"""The protocol of `surrogates.base`, for every model of the registry and for co-kriging."""

import numpy as np
import pytest

from mixopt.surrogates.base import is_differentiable
from mixopt.surrogates.cokriging import CoKriging
from mixopt.surrogates.registry import AUTO, SURROGATES, make_model

D, METRICS = 4, 2
MODELS = [*SURROGATES, "corrected"]
DIFFERENTIABLE = [name for name in MODELS if name not in ("trees", "regmix")]
NOT_INTERPOLATING = ("regmix", "trees", "constant", "ridge", "linear")


class Proxy:
    """A lower fidelity for `CoKriging`: exact up to an offset."""

    def predict(self, ratios):
        return truth(ratios) + 0.3, np.full((len(ratios), METRICS), 0.1)

    def mean(self, ratios, *, smooth=False):
        return truth(ratios) + 0.3

    def differences(self, ratios, reference):
        return truth(ratios) - truth(reference[None]), np.full((len(ratios), METRICS), 0.05)

    def gradient(self, ratios, weights):
        step = 1e-6
        units = step * np.eye(ratios.shape[1])
        return np.stack([
            ((truth(ratios + unit) - truth(ratios - unit)) * weights).sum(1) / (2 * step)
            for unit in units
        ], axis=1)  # fmt: skip


def make(name, seed=0):
    return CoKriging(Proxy()) if name == "corrected" else make_model(name, seed)


def truth(ratios):
    first = ratios[:, 0] - ratios[:, 1] + 0.5 * np.sqrt(np.abs(ratios[:, 2]))
    second = (np.abs(ratios[:, 1]) + 0.05) ** -0.3
    raw = np.stack([first, second], axis=1)
    return (raw - [0.2, 1.5]) / [0.35, 0.25]


def data(n, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(D), size=n)
    return ratios, truth(ratios) + noise * rng.normal(size=(n, METRICS)), np.zeros((n, METRICS))


def few_runs(name):
    """Twenty runs more than the least number that the model takes."""
    return data(20 + (SURROGATES[name].min_trials(D) if name in SURROGATES else 0))


FITTED = {}


@pytest.fixture
def fitted(name):
    """The model fitted to few runs, once for all tests that only read it."""
    if name not in FITTED:
        FITTED[name] = make(name, seed=3).fit(*few_runs(name))
    return FITTED[name]


@pytest.mark.parametrize("name", MODELS)
def test_shapes_and_finite_positive_deviations(fitted):
    mean, std = fitted.predict(data(7, seed=1)[0])
    assert mean.shape == std.shape == (7, METRICS)
    assert np.isfinite(mean).all()
    assert (std > 0).all()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "constant"])
def test_learns_from_few_runs(fitted):
    fresh, expected, _ = data(200, seed=1)
    mean, _ = fitted.predict(fresh)
    for metric in range(METRICS):
        assert np.corrcoef(mean[:, metric], expected[:, metric])[0, 1] > 0.6


@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_prediction(name, fitted):
    fresh = data(5, seed=1)[0]
    first = fitted.predict(fresh)
    second = make(name, seed=3).fit(*few_runs(name)).predict(fresh)
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()


@pytest.mark.parametrize("name", MODELS)
def test_repeated_mixtures_with_different_scores_are_noise(name):
    ratios, scores, noise = data(24)
    doubled, noisy = np.vstack([ratios, ratios]), np.vstack([scores + 0.5, scores - 0.5])
    mean, std = make(name).fit(doubled, noisy, np.vstack([noise, noise])).predict(ratios)
    assert np.isfinite(mean).all()
    assert std.mean() > 0.2
    if name not in NOT_INTERPOLATING:
        assert np.sqrt(np.square(mean - scores).mean()) < 0.5  # between the two, not on one


@pytest.mark.parametrize("name", MODELS)
def test_a_missing_score_costs_itself_alone(name):
    ratios, scores, noise = data(48)
    scores[:6, 0] = np.nan
    mean, std = make(name).fit(ratios, scores, noise).predict(ratios)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()


@pytest.mark.parametrize("name", MODELS)
def test_refit_forgets_runs_that_are_left_out(name):
    """A refit without a run predicts it as a fit without it does, up to the starting point."""
    ratios, scores, noise = data(64, noise=0.3)
    model = make(name).fit(ratios, scores, noise)
    again = model.refit(ratios[:48], scores[:48], noise[:48])
    fresh = make(name).fit(ratios[:48], scores[:48], noise[:48])
    away = again.predict(ratios[48:])[0] - fresh.predict(ratios[48:])[0]
    assert np.sqrt(np.square(away).mean()) < 0.25


@pytest.mark.parametrize("name", MODELS)
def test_a_domain_that_never_varies_does_no_harm(name):
    ratios, scores, noise = data(44)
    ratios[:, 3] = 0.0
    ratios /= ratios.sum(axis=1, keepdims=True)
    mean, _ = make(name).fit(ratios, scores, noise).predict(ratios)
    assert np.isfinite(mean).all()


@pytest.mark.parametrize("name", MODELS)
def test_only_trees_have_no_gradient(name):
    assert is_differentiable(make(name)) == (name in DIFFERENTIABLE)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_is_that_of_the_mean(fitted):
    rng = np.random.default_rng(2)
    points, weights, step = rng.dirichlet(np.full(D, 4.0), 3), rng.normal(size=(3, METRICS)), 1e-6
    numeric = np.stack([
        ((fitted.mean(points + step * unit) - fitted.mean(points - step * unit)) * weights).sum(1)
        for unit in np.eye(D)
    ], axis=1) / (2 * step)  # fmt: skip
    assert fitted.gradient(points, weights) == pytest.approx(numeric, rel=2e-4, abs=2e-4)
    assert np.isfinite(fitted.gradient(np.eye(D), np.ones((D, METRICS)))).all()  # at the corners


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_contrast_is_a_difference_in_which_shared_uncertainty_cancels(name):
    model = make(name).fit(*data(44, noise=0.1))
    points = data(5, seed=3)[0]
    difference, variance = model.contrast(points, points[0])
    assert difference == pytest.approx(model.mean(points) - model.mean(points[:1]), abs=1e-8)
    assert model.mean(points) == pytest.approx(model.predict(points)[0], abs=1e-8)
    assert variance[0] == pytest.approx(0, abs=0.01)  # a mixture minus itself
    assert (variance >= 0).all()


def test_auto_is_made_of_surrogates():
    assert set(AUTO) <= set(SURROGATES)
