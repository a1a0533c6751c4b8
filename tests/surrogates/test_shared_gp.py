import numpy as np
import pytest

from mixopt.surrogates.gaussian_process import GaussianProcess
from mixopt.surrogates.shared_gp import SharedGaussianProcess


def noisy(n, m=12, seed=0):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(6), n)
    truth = np.sqrt(ratios[:, :1]) * np.linspace(1, 2, m)
    truth = (truth - truth.mean(0)) / truth.std(0)
    return ratios, truth, truth + 1.0 * rng.normal(size=(n, m))


def test_metrics_share_their_hyperparameters():
    ratios, _, scores = noisy(30)
    model = SharedGaussianProcess("sqrt").fit(ratios, scores, np.zeros((30, 12)))
    (one,) = model._posteriors
    assert one.metrics.tolist() == list(range(12))
    again = model.refit(ratios[:20], scores[:20], np.zeros((20, 12)))
    assert isinstance(again, SharedGaussianProcess)


def test_noisy_metrics_of_one_kind_help_each_other():
    ratios, _, scores = noisy(40)
    fresh, truth, _ = noisy(300, seed=1)
    errors = [
        np.square(
            make("sqrt").fit(ratios, scores, np.zeros((40, 12))).predict(fresh)[0] - truth
        ).mean()
        for make in (SharedGaussianProcess, GaussianProcess)
    ]
    assert errors[0] < errors[1]


def test_a_missing_score_leaves_out_its_run_unless_few_are_complete():
    ratios, _, scores = noisy(12)
    scores[0, 0] = np.nan
    some = SharedGaussianProcess("sqrt").fit(ratios, scores, np.zeros((12, 12)))
    scores[np.arange(12), np.arange(12)] = np.nan
    none = SharedGaussianProcess("sqrt").fit(ratios, scores, np.zeros((12, 12)))
    for model in (some, none):
        assert np.isfinite(model.predict(ratios)[0]).all()


def test_one_factor_for_all_metrics_is_what_each_would_have():
    """Predictions, differences and gradients are those of a process for each metric."""
    ratios, _, scores = noisy(30)
    noise = np.zeros((30, 12))
    model = SharedGaussianProcess("sqrt").fit(ratios, scores, noise)
    theta, points = model._posteriors[0].theta, model._standardize(ratios)
    alone = GaussianProcess("sqrt").fit(ratios, scores, noise)
    alone._posteriors = [
        alone._posterior([m], theta, points, scores, noise[:, m]) for m in range(12)
    ]
    for name in ("_expansions", "_linear"):
        vars(alone).pop(name, None)
    fresh, weights = noisy(5, seed=2)[0], np.random.default_rng(0).normal(size=(5, 12))
    for own, other in zip(model.predict(fresh), alone.predict(fresh), strict=True):
        assert own == pytest.approx(other)
    for own, other in zip(
        model.contrast(fresh, ratios[0]), alone.contrast(fresh, ratios[0]), strict=True
    ):
        assert own == pytest.approx(other)
    assert model.mean(fresh) == pytest.approx(alone.mean(fresh))
    assert model.gradient(fresh, weights) == pytest.approx(alone.gradient(fresh, weights))
