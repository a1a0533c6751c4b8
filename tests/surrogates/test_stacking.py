import numpy as np
import pytest

from mixopt.surrogates import stacking as module
from mixopt.surrogates.linear import Ridge
from mixopt.surrogates.registry import AUTO, make_model
from mixopt.surrogates.repeats import FOLDS, assign_folds
from mixopt.surrogates.stacking import _combine, fit_stacked_model


def models(names=AUTO):
    return {name: make_model(name, 0) for name in names}


def table(n=40, m=3, d=5, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.full(d, 0.7), n)
    scores = np.log(ratios[:, :m] + 0.05) + noise * rng.normal(size=(n, m))
    return ratios, -(scores - scores.mean(0)) / scores.std(0), np.zeros((n, m))


@pytest.fixture(scope="module")
def fitted():
    ratios, z, noise = table()
    return fit_stacked_model(models(), ratios, z, noise, seed=0)


def test_weights_follow_cross_validation(fitted):
    ratios, z, _ = table()
    assert fitted.weights.sum(axis=0) == pytest.approx(1)
    assert (fitted.weights >= 0).all()
    by_name = dict(zip(fitted.models, fitted.weights.mean(axis=1), strict=True))
    errors = dict(zip(fitted.models, fitted.cv_errors.mean(axis=1), strict=True))
    assert max(by_name, key=by_name.__getitem__) == min(errors, key=errors.__getitem__)
    assert by_name["constant"] < 0.05 < max(by_name.values())
    # out-of-fold predictions are of runs that were not seen: worse than the fit, better than chance
    inside = np.square(fitted.predict(ratios)[0] - z).mean()
    outside = np.square(fitted.cv_means - z).mean()
    assert inside < outside < 0.5


def test_pure_noise_is_left_to_the_constant():
    ratios, _, noise = table()
    z = np.random.default_rng(1).normal(size=(40, 3))
    stacked = fit_stacked_model(models(), ratios, z, noise, seed=0)
    fresh = table(seed=2)[0]
    assert np.abs(stacked.predict(fresh)[0]).mean() < 0.4


def test_repeats_of_a_mixture_share_their_fold():
    ratios = np.repeat(table(10)[0], 3, axis=0)
    folds = assign_folds(ratios, 0).reshape(10, 3)
    assert (folds == folds[:, :1]).all()
    assert len(np.unique(folds)) == FOLDS


def test_an_unbounded_law_is_held_to_the_range_and_its_excess_is_doubt():
    """Unclipped, models explode on sparse tables; here far outside of the runs."""
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet([30, 2, 2], size=24)
    z = 50 * ratios[:, 1:2] * ratios[:, 2:] + 3 * ratios[:, 1:2]
    z = (z - z.mean()) / z.std()
    stacked = fit_stacked_model(models(("scheffe",)), ratios, z, np.zeros(z.shape), seed=0)
    mean, std = stacked.predict(np.array([[0.0, 0.5, 0.5]]))
    width = float(np.ptp(z))
    assert z.min() - width / 2 - 1e-9 <= mean[0, 0] <= z.max() + width / 2 + 1e-9
    assert std[0, 0] > width / 2


def test_differences_are_surer_than_their_ends_are():
    ratios, z, noise = table(noise=0.3)
    stacked = fit_stacked_model(models(), ratios, z, noise, seed=0)
    points = np.vstack([ratios[0], 0.98 * ratios[0] + 0.02 * ratios[1], ratios[2]])
    mean, std = stacked.differences(points, points[0])
    assert mean[0] == pytest.approx(0, abs=1e-9)
    assert (std[1] < std[2]).all()
    assert (std[1] < 0.3 * stacked.predict(points[:1])[1]).all()
    both = stacked.mean(points, smooth=False)
    assert mean == pytest.approx(both - both[0])


def test_what_trees_alone_see_of_a_difference_is_not_sure():
    """The constant has no variance of a difference, so trees must have one of their own."""
    rng = np.random.default_rng(0)
    ratios, fresh = rng.dirichlet(np.ones(4), 60), rng.dirichlet(np.ones(4), 300)

    def steps(rows):
        return (1.0 * (rows[:, 0] > 0.3) + 0.5 * (rows[:, 1] > 0.25))[:, None]

    scores = steps(ratios) + rng.normal(0, 0.3, (60, 1))
    center, scale = scores.mean(), scores.std()
    names = ("trees", "constant")
    stacked = fit_stacked_model(models(names), ratios, (scores - center) / scale, np.zeros((60, 1)),
                                seed=0)  # fmt: skip
    mean, std = stacked.differences(fresh, fresh[0])
    truth = (steps(fresh) - steps(fresh[:1])) / scale
    inside = np.abs(truth - mean)[1:] <= 1.96 * std[1:]
    assert 0.85 < inside.mean() <= 1
    assert std[0, 0] == pytest.approx(0, abs=1e-6)
    assert std[1:].max() < 2 * np.abs(truth).max()


def test_gradient_is_that_of_the_smooth_mean(fitted):
    point, weights, step = np.full((1, 5), 0.2), np.array([[1.0, -0.5, 2.0]]), 1e-6
    numeric = [
        float(((fitted.mean(point + step * u) - fitted.mean(point - step * u)) * weights).sum())
        / (2 * step) for u in np.eye(5)
    ]  # fmt: skip
    assert fitted.gradient(point, weights)[0] == pytest.approx(numeric, rel=1e-4)
    assert 0.5 < fitted.differentiable_share <= 1


def test_wide_tables_try_laws_on_a_sample_first(monkeypatch):
    monkeypatch.setattr(module, "SCREENED_FROM", 100)
    monkeypatch.setattr(module, "SAMPLE", 2)
    ratios, z, noise = table(m=5)
    stacked = fit_stacked_model(
        models(("gp_log", "ridge_root", "constant")), ratios, z, noise, seed=0
    )
    assert "constant" not in stacked.models
    assert stacked.weights.shape[1] == 5


@pytest.mark.parametrize(("d", "zeros"), [(24, 0.75), (64, 0.9)])
def test_sparse_tables_do_not_explode(d, zeros):
    """24 and 64 domains, most ratios zero: where the law alone was 1e25 times off."""
    rng = np.random.default_rng(0)
    raw = rng.dirichlet(np.full(d, 0.5), 80) * (rng.random((80, d)) > zeros)
    raw[:, 0] += 1e-3
    ratios = raw / raw.sum(1, keepdims=True)
    worth = rng.normal(size=(d, 2))
    z = -np.log(np.sqrt(ratios) @ np.exp(worth) + 0.05) + 0.05 * rng.normal(size=(80, 2))
    z = (z - z.mean(0)) / z.std(0)
    stacked = fit_stacked_model(models(), ratios[:60], z[:60], np.zeros((60, 2)), seed=0)
    mean, std = stacked.predict(ratios[60:])
    low, high = z[:60].min(0), z[:60].max(0)
    assert ((mean >= low - 0.5 * (high - low)) & (mean <= high + 0.5 * (high - low))).all()
    assert np.square(mean - z[60:]).mean() < 1.2  # no worse than knowing nothing
    assert np.isfinite(std).all()


def test_too_few_runs_to_tell_laws_apart():
    ratios, z, noise = table(4)
    stacked = fit_stacked_model(models(("ridge_root", "constant")), ratios, z, noise, seed=0)
    assert stacked.weights == pytest.approx(0.5)
    assert np.isfinite(stacked.predict(ratios)[0]).all()


def test_one_model_with_an_absurd_error_does_not_set_the_width():
    """Its standard deviation counts as the range of the scores, as its mean is bounded."""
    bounds = np.array([-2.0]), np.array([2.0])  # scores from -1 to 1
    means, weights = np.zeros((2, 1, 1)), np.array([[0.92], [0.08]])
    stds = np.array([[[0.1]], [[508.0]]])
    _, std = _combine(means, stds, weights, np.ones((2, 1)), bounds)
    assert std[0, 0] == pytest.approx(np.sqrt(0.92 * 0.01 + 0.08 * 4.0))


@pytest.mark.parametrize("d", [24, 64])
def test_no_model_s_absurd_deviation_sets_the_width_of_scores_or_differences(d):
    """One model of small weight claims 500 standard deviations: each one counts as the range at most."""
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.full(d, 0.2), 40)
    z = np.sqrt(ratios) @ rng.normal(size=(d, 2))
    z = (z - z.mean(0)) / z.std(0)

    class Absurd(Ridge):
        def predict(self, ratios):
            mean, std = super().predict(ratios)
            return mean, std * np.where(ratios[:, :1] == ratios.max(), 5000.0, 1.0)

        def contrast(self, ratios, reference):
            mean, variance = super().contrast(ratios, reference)
            return mean, variance * 1e8

        def refit(self, *table):
            return Ridge("sqrt").fit(*table)

    both = {"plain": Ridge("sqrt"), "absurd": Absurd("sqrt")}
    stacked = fit_stacked_model(both, ratios, z, np.zeros(z.shape), seed=0)
    widest = np.ptp(z, axis=0)
    _, std = stacked.predict(ratios)
    assert (std < 1.5 * widest).all()
    _, apart = stacked.differences(ratios, ratios[0])
    assert (apart < 3.5 * widest).all()
