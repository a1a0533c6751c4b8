import numpy as np

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
    first = model._posteriors[0].theta
    assert all((one.theta == first).all() for one in model._posteriors)
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
