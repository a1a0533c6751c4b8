"""What every surrogate must do, whatever its law."""

import numpy as np
import pytest

from mixopt.surrogates.cokriging import CoKriging
from mixopt.surrogates.registry import AUTO, SURROGATES, is_differentiable, make_model

D, METRICS = 4, 2


class Proxy:
    """A cheaper fidelity for `CoKriging`: right but for an offset."""

    def predict(self, ratios):
        return truth(ratios) + 0.3, np.full((len(ratios), METRICS), 0.1)

    def mean(self, ratios):
        return truth(ratios) + 0.3

    def differences(self, ratios, reference):
        return truth(ratios) - truth(reference[None]), np.full((len(ratios), METRICS), 0.05)

    def slopes(self, ratios, weights):
        step = 1e-6
        units = step * np.eye(ratios.shape[1])
        return np.stack([
            ((truth(ratios + unit) - truth(ratios - unit)) * weights).sum(1) / (2 * step)
            for unit in units
        ], axis=1)  # fmt: skip


@pytest.fixture(params=[*SURROGATES, "corrected"])
def make(request):
    if request.param == "corrected":
        return lambda seed: CoKriging(Proxy())
    return lambda seed: make_model(request.param, seed)


@pytest.fixture
def name(request):
    return request.node.callspec.params["make"]


def truth(ratios):
    first = ratios[:, 0] - ratios[:, 1] + 0.5 * np.sqrt(np.abs(ratios[:, 2]))
    second = (np.abs(ratios[:, 1]) + 0.05) ** -0.3
    raw = np.stack([first, second], axis=1)
    return (raw - [0.2, 1.5]) / [0.35, 0.25]


def data(n, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(D), size=n)
    return ratios, truth(ratios) + noise * rng.normal(size=(n, METRICS)), np.zeros((n, METRICS))


def test_shapes_and_finite_positive_deviations(make):
    mean, std = make(0).fit(*data(48)).predict(data(7, seed=1)[0])
    assert mean.shape == std.shape == (7, METRICS)
    assert np.isfinite(mean).all()
    assert (std > 0).all()


def test_learns_from_few_runs(make, name):
    """As few runs as it says it needs rank new mixtures; the constant is what it says."""
    if name == "constant":
        return
    n = max(20, SURROGATES[name].fewest(D) + 20 if name in SURROGATES else 0)
    fresh, expected, _ = data(200, seed=1)
    mean, _ = make(0).fit(*data(n)).predict(fresh)
    for metric in range(METRICS):
        assert np.corrcoef(mean[:, metric], expected[:, metric])[0, 1] > 0.6


def test_same_seed_same_prediction(make):
    fresh = data(5, seed=1)[0]
    first, second = make(3).fit(*data(44)).predict(fresh), make(3).fit(*data(44)).predict(fresh)
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()


def test_repeated_mixtures_with_different_scores_are_noise(make, name):
    ratios, scores, noise = data(24)
    doubled, noisy = np.vstack([ratios, ratios]), np.vstack([scores + 0.5, scores - 0.5])
    mean, std = make(0).fit(doubled, noisy, np.vstack([noise, noise])).predict(ratios)
    assert np.isfinite(mean).all()
    assert std.mean() > 0.2
    if name not in ("regmix", "trees", "constant", "ridge", "linear"):
        assert np.sqrt(np.square(mean - scores).mean()) < 0.5  # between the two, not on one


def test_a_missing_score_costs_itself_alone(make):
    ratios, scores, noise = data(48)
    scores[:6, 0] = np.nan
    mean, std = make(0).fit(ratios, scores, noise).predict(ratios)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()


def test_refit_forgets_runs_that_are_left_out(make, name):
    """A law refitted without a run predicts it as one that never saw it, up to its starting point."""
    ratios, scores, noise = data(64, noise=0.3)
    law = make(0).fit(ratios, scores, noise)
    again = law.refit(ratios[:48], scores[:48], noise[:48])
    fresh = make(0).fit(ratios[:48], scores[:48], noise[:48])
    away = again.predict(ratios[48:])[0] - fresh.predict(ratios[48:])[0]
    assert np.sqrt(np.square(away).mean()) < 0.25


def test_no_warning_leaks(make, recwarn):
    make(0).fit(*data(44)).predict(data(3, seed=1)[0])
    assert [str(warning.message) for warning in recwarn] == []


def test_a_domain_that_never_varies_does_no_harm(make):
    ratios, scores, noise = data(44)
    ratios[:, 3] = 0.0
    ratios /= ratios.sum(axis=1, keepdims=True)
    mean, _ = make(0).fit(ratios, scores, noise).predict(ratios)
    assert np.isfinite(mean).all()


def test_slopes_are_those_of_the_mean(make):
    law = make(0).fit(*data(44))
    if not is_differentiable(law):
        return
    rng = np.random.default_rng(2)
    points, weights, step = rng.dirichlet(np.full(D, 4.0), 3), rng.normal(size=(3, METRICS)), 1e-6
    numeric = np.stack([
        ((law.mean(points + step * unit) - law.mean(points - step * unit)) * weights).sum(1)
        for unit in np.eye(D)
    ], axis=1) / (2 * step)  # fmt: skip
    assert law.slopes(points, weights) == pytest.approx(numeric, rel=2e-4, abs=2e-4)
    assert np.isfinite(law.slopes(np.eye(D), np.ones((D, METRICS)))).all()  # at the corners too


def test_contrast_is_a_difference_and_knows_what_both_sides_share(make):
    law = make(0).fit(*data(44, noise=0.1))
    if not is_differentiable(law):
        return
    points = data(5, seed=3)[0]
    difference, variance = law.contrast(points, points[0])
    assert difference == pytest.approx(law.mean(points) - law.mean(points[:1]), abs=1e-8)
    assert law.mean(points) == pytest.approx(law.predict(points)[0], abs=1e-8)
    assert variance[0] == pytest.approx(0, abs=0.01)  # nothing is surer than a mixture and itself
    assert (variance >= 0).all()


def test_auto_is_made_of_surrogates():
    assert set(AUTO) <= set(SURROGATES)
