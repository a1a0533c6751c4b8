import numpy as np
import pytest

from mixopt.surrogates import radial_basis as module
from mixopt.surrogates.gaussian_process import GaussianProcess
from mixopt.surrogates.radial_basis import RadialBasis

D = 4


def runs(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(D), n)


def smooth(ratios):
    """A smooth function on √r, and another with a bend."""
    x = np.sqrt(ratios)
    return np.stack([np.exp(-np.square(x - 0.5).sum(1)), np.cos(3 * x[:, 0]) * x[:, 1]], axis=1)


def table(n, seed=0, noise=0.0):
    ratios = runs(n, seed)
    values = smooth(ratios)
    z = (values - smooth(runs(2000, 9)).mean(0)) / smooth(runs(2000, 9)).std(0)
    return (
        ratios,
        z + noise * np.random.default_rng(seed + 1).normal(size=z.shape),
        np.zeros(z.shape),
    )


def test_recovers_a_smooth_function_better_than_a_matern_process():
    fresh, truth, _ = table(400, 1)
    error, rival = (
        np.sqrt(np.square(model.fit(*table(48)).predict(fresh)[0] - truth).mean())
        for model in (RadialBasis(), GaussianProcess("sqrt"))
    )
    assert error < 0.05
    assert error < rival


def test_is_the_posterior_of_a_gaussian_process():
    """Mean and variance are those of the exact process with the constant as a flat parameter."""
    ratios, z, noise = table(20, noise=0.1)
    model = RadialBasis().fit(ratios, z, noise)
    fresh = runs(6, 3)
    x, y = np.sqrt(ratios), np.sqrt(fresh)

    def kernel(a, b):
        return np.exp(-np.square(a[:, None] - b).sum(2) / (2 * model._length**2))

    share = np.full(20, 1 / 20)
    near = kernel(y, x) - share @ kernel(x, x)
    for m in range(2):
        own = model._noises[m] / model._penalties[m]
        center = np.eye(20) - 1 / 20
        among = own * center @ kernel(x, x) @ center + model._noises[m] * np.eye(20)
        cross = own * near @ center
        mean = z[:, m].mean() + cross @ np.linalg.solve(among, z[:, m] - z[:, m].mean())
        assert model.mean(fresh)[:, m] == pytest.approx(mean, abs=1e-4)


def test_the_length_follows_the_function():
    ratios = runs(120)
    x = np.sqrt(ratios)
    lengths = [
        RadialBasis().fit(ratios, np.sin(k * x[:, :1]), np.zeros((120, 1)))._length
        for k in (1.0, 12.0)
    ]
    assert lengths[0] > lengths[1]


def test_far_from_all_runs_the_deviation_is_that_of_the_process():
    ratios = np.random.default_rng(0).dirichlet([60, 40, 30, 1], 30)
    z = (ratios[:, :1] - ratios[:, :1].mean()) / ratios[:, :1].std()
    model = RadialBasis().fit(ratios, z, np.zeros((30, 1)))
    _, std = model.predict(np.vstack([ratios[:1], np.eye(D)[3]]))
    assert std[1, 0] > 10 * std[0, 0]


def test_metrics_with_the_same_runs_share_a_decomposition():
    ratios, z, noise = table(24)
    z = np.hstack([z, z])
    z[3, 1] = np.nan
    model = RadialBasis().fit(ratios, z, np.hstack([noise, noise]))
    assert sorted(group.metrics.tolist() for group in model._groups) == [[0, 2, 3], [1]]


def test_a_noisier_run_counts_less():
    ratios, z, noise = table(30)
    z[0], noise[0] = z[0] + 3.0, 9.0
    fresh, truth, _ = table(100, 1)
    errors = [
        np.square(RadialBasis().fit(ratios, z, known).predict(fresh)[0] - truth).mean()
        for known in (noise, np.zeros(noise.shape))
    ]
    assert errors[0] < errors[1]


def test_large_tables_have_fewer_centers_than_runs(monkeypatch):
    ratios, z, noise = table(60)
    exact = RadialBasis().fit(ratios, z, noise)
    monkeypatch.setattr(module, "choose_centers", lambda points: np.arange(0, 60, 2))
    some = RadialBasis().fit(ratios, z, noise)
    fresh = runs(50, 4)
    assert len(some._alphas) == 30
    assert np.abs(some.mean(fresh) - exact.mean(fresh)).max() < 0.2
