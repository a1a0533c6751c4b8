import numpy as np
import pytest
from scipy.optimize import check_grad

from mixopt.surrogates.gaussian_process import (
    MOST_RUNS,
    GaussianProcess,
    _negative_log_posterior,
    _prior,
)


def line(share, score):
    ratios = np.stack([share, 1 - share], axis=1)
    z = (score - score.mean()) / score.std()
    return ratios, z[:, None], np.zeros((len(share), 1))


def test_follows_a_square_root_near_zero():
    """The first percent of a domain teaches more than the fiftieth."""
    share = np.concatenate([np.linspace(0, 0.1, 12), np.linspace(0.15, 1, 12)])
    model = GaussianProcess("sqrt").fit(*line(share, np.sqrt(share)))
    mean, _ = model.predict(np.array([[0.0, 1.0], [0.04, 0.96], [0.5, 0.5], [0.54, 0.46]]))
    assert mean[1, 0] - mean[0, 0] > 3 * (mean[3, 0] - mean[2, 0])


@pytest.mark.parametrize("features", ["sqrt", "log"])
def test_is_less_sure_far_from_the_runs(features):
    share = np.linspace(0, 0.3, 12)
    model = GaussianProcess(features).fit(*line(share, np.sin(12 * share)))
    _, std = model.predict(np.array([[0.15, 0.85], [0.9, 0.1]]))
    assert std[1, 0] > 2 * std[0, 0]


def test_gradient_of_the_evidence():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    means, sds = _prior(3)
    objective = _negative_log_posterior(x, z, np.full(12, 0.01), means, sds)
    start = means + 0.2 * rng.normal(size=6)
    error = check_grad(lambda t: objective(t)[0], lambda t: objective(t)[1], start)
    assert error < 1e-4


def test_a_domain_that_does_not_matter_gets_a_long_length():
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(4), 60)
    scores = np.sin(6 * np.sqrt(ratios[:, :1]))
    model = GaussianProcess("sqrt").fit(ratios, scores - scores.mean(), np.zeros((60, 1)))
    lengths = model._posteriors[0].lengths
    assert lengths[0] < 0.7 * lengths[1:].min()


def test_known_noise_is_not_followed():
    share = np.linspace(0.05, 0.95, 30)
    ratios, z, noise = line(share, share + 0.0)
    z[10] += 5.0
    noise[10] = 25.0
    near = GaussianProcess("sqrt").fit(ratios, z, noise).predict(ratios[10:11])[0][0, 0]
    assert abs(near - (z[9, 0] + z[11, 0]) / 2) < 0.3


def test_hyperparameters_see_all_kinds_of_runs_of_a_sorted_table(monkeypatch):
    """The first 128 rows of a table that is sorted by a domain have none of its larger shares."""
    seen = []

    def record(x, z, extra, start, steps):
        seen.append(x)
        return start

    monkeypatch.setattr("mixopt.surrogates.gaussian_process.fit_theta", record)
    share = np.linspace(0, 1, 300)
    model = GaussianProcess("sqrt").fit(*line(share, np.sin(12 * share)))
    every = model._standardize(np.stack([share, 1 - share], axis=1))
    (used,) = seen
    assert len(used) == MOST_RUNS
    assert np.ptp(used, axis=0) == pytest.approx(np.ptp(every, axis=0), rel=0.05)
