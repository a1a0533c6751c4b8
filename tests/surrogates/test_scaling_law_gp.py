import numpy as np
import pytest
from scipy.stats import multivariate_normal, spearmanr

from mixopt.surrogates import scaling_law
from mixopt.surrogates.kernels import matern52, square_distances
from mixopt.surrogates.least_squares import NOISE, NOISE_COUNT
from mixopt.surrogates.linear import Ridge
from mixopt.surrogates.scaling_law_gp import (
    ScalingLawGP,
    _covariance,
    _Kernel,
    _KernelCache,
    _log_evidence,
    _MetricData,
    _ResidualGP,
    _ScalingLawMode,
    _select_kernels,
)


def law_like(n, d=8, m=4, seed=0):
    """Losses that fall as a power of effective tokens, with a bump that no law has."""
    rng = np.random.default_rng(7)
    theta = np.hstack(
        [np.tile([-2.0, -1.0, -3.0, np.log(0.4), 0.0], (m, 1)), rng.normal(size=(m, d))]
    )
    ratios = np.random.default_rng(seed).dirichlet(np.full(d, 0.5), n)
    raw = scaling_law.evaluate(theta, ratios)[0].T + 0.3 * np.sin(4 * ratios[:, :1])
    return ratios, raw, np.zeros((n, m))


def test_beats_ridge_on_scores_of_its_own_kind():
    ratios, scores, noise = law_like(40)
    fresh, truth, _ = law_like(300, seed=1)
    centre, scale = scores.mean(0), scores.std(0)
    z = (scores - centre) / scale
    errors = [
        np.square(law.fit(ratios, z, noise).predict(fresh)[0] - (truth - centre) / scale).mean()
        for law in (ScalingLawGP(), Ridge("sqrt"))
    ]
    assert errors[0] < 0.5 * errors[1]


def test_fewer_tokens_cost_and_the_slopes_say_how_much():
    ratios, scores, noise = law_like(40)
    z = (scores - scores.mean(0)) / scores.std(0)
    law = ScalingLawGP().fit(ratios, z, noise)
    points = np.random.default_rng(1).dirichlet(np.full(8, 3.0), 2)
    assert (law.budget_effect(points, np.array([0.5, 0.9])) > 0).all()  # losses rise
    weights, step = np.ones((2, 4)), 1e-6
    _, by_share = law.budget_gradient(points, np.full(2, 0.7), weights)
    numeric = law.budget_effect(points, np.full(2, 0.7 + step)) - law.budget_effect(
        points, np.full(2, 0.7 - step)
    )
    assert by_share == pytest.approx(numeric.sum(1) / (2 * step), rel=1e-4)


def test_ranks_the_pile_from_fifty_runs(shared):
    """RegMix's 1M runs: 51 of them rank the other 461 above .975 on average."""
    from mixopt import read_trials

    folder = shared / "tables/regmix"
    trials = read_trials(
        ratios=folder / "train_mixture_1m.csv", metrics=folder / "train_pile_loss_1m.csv"
    )
    ratios, losses = trials.ratios(), trials.values(trials.metrics)
    order = np.random.default_rng(0).permutation(len(ratios))
    use, rest = order[:51], order[51:]
    z = (losses - losses[use].mean(0)) / losses[use].std(0)
    mean, _ = ScalingLawGP().fit(ratios[use], z[use], np.zeros((51, 13))).predict(ratios[rest])
    ranks = [spearmanr(mean[:, m], z[rest, m])[0] for m in range(13)]
    assert np.mean(ranks) > 0.975


def example(n=25, d=3):
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(d), n)
    theta = np.concatenate([[-2.0, -1.7, -3.0, np.log(0.4), 0.0], rng.normal(size=d)])
    values, _ = scaling_law.evaluate(theta[None], ratios)
    z = values[0] + np.sin(5 * ratios[:, 0]) + 0.1 * rng.normal(size=n)
    means, precisions = theta + 0.1, np.full(len(theta), 2.0)
    return _MetricData(ratios, z, np.zeros(n), np.arange(n)), _ScalingLawMode(
        theta, means, precisions, 0.05
    )


def test_evidence_is_that_of_the_gaussian():
    runs, law = example()
    kernel, s2 = _Kernel(4.0, 1.5, 0.0), 0.05
    values, jacobian = scaling_law.evaluate(law.parameters[None], runs.ratios)
    points = np.sqrt(runs.ratios)
    near = matern52(square_distances(points, points), kernel.length)
    covariance = s2 * (kernel.rho * near + np.eye(25))
    covariance += jacobian[0] @ np.diag(1 / law.precisions) @ jacobian[0].T
    mean = values[0] + jacobian[0] @ (law.means - law.parameters)
    exact = multivariate_normal(mean, covariance).logpdf(runs.z) + 25 / 2 * np.log(2 * np.pi)
    right = np.column_stack([runs.z - mean, jacobian[0] * law.precisions**-0.5])
    ours = _log_evidence(
        _covariance(runs, kernel, np.ones(3), s2, _KernelCache()), runs, right, np.array([s2])
    )[0]
    prior = NOISE_COUNT / 2 * (np.log(s2) + NOISE / s2)
    assert ours + prior == pytest.approx(exact, rel=1e-8)


def test_kernels_that_share_a_cache_are_those_without_it():
    """The variance is a factor on the correlation that kernels of one length share."""
    runs, _ = example()
    stretch, cache = np.array([1.0, 0.3, 0.5]), _KernelCache()
    right = np.column_stack([runs.z, runs.ratios[:, 0]])
    for kernel in (_Kernel(1, 1.5, 0.5), _Kernel(16, 1.5, 0.5), _Kernel(16, 3.0, 0.0)):
        shared = _covariance(runs, kernel, stretch, 0.05, cache).gram(right)
        alone = _covariance(runs, kernel, stretch, 0.05, _KernelCache()).gram(right)
        points = np.sqrt(runs.ratios) * stretch**kernel.tilt
        dense = np.eye(25) + kernel.rho * matern52(square_distances(points, points), kernel.length)
        assert shared == pytest.approx(alone)
        assert shared == pytest.approx(right.T @ np.linalg.solve(dense, right))
    assert len(cache.correlations) == 2
    assert set(cache.of_all_metrics().correlations) == {(0.0, 3.0, 25)}


def test_what_the_law_misses_is_found():
    runs, law = example()
    kept = _select_kernels(
        runs, law, [_Kernel(0, 1, 0), _Kernel(16, 1.5, 0)], np.ones(3), 2, _KernelCache()
    )
    assert kept[0][0].rho == 16
    assert 0.9 < sum(share for _, _, share in kept) <= 1 + 1e-9


def test_variance_of_a_difference_is_that_of_the_pair():
    runs, law = example()
    process = _ResidualGP(
        runs, law, _Kernel(4, 1.5, 0.5), 0.05, np.array([1.0, 0.3, 0.5]), _KernelCache()
    )
    points = np.random.default_rng(1).dirichlet(np.ones(3), 4)
    apart = process.variance_of_difference(points, points[0])
    assert apart[0] == pytest.approx(0, abs=1e-10)
    # Var(a - b) = Var(a) + Var(b) - 2 Cov, and Cov is bounded by Cauchy-Schwarz
    own = process.variance(points)
    widest = np.square(np.sqrt(own) + np.sqrt(own[0]))
    assert (apart <= widest + 1e-9).all()
    assert (apart >= np.square(np.sqrt(own) - np.sqrt(own[0])) - 1e-9).all()


def test_kernels_disagree_about_a_difference_as_far_as_theirs_differ():
    ratios, scores, noise = law_like(40)
    law = ScalingLawGP().fit(ratios, (scores - scores.mean(0)) / scores.std(0), noise)
    points = law_like(20, seed=3)[0]
    _, variance = law.contrast(points[1:], points[0])
    _, shares, _ = law._batch
    apart = law._each(points[1:]) - law._each(points[:1])
    kernels = np.stack([np.sum(shares[:, m, None] * np.square(apart - (shares[:, m] @ apart)), axis=0)
                        for m in range(4)], axis=1)  # fmt: skip
    own = np.stack([metric[0][1].variance_of_difference(points[1:], points[0])
                    for metric in law._processes], axis=1)  # fmt: skip
    assert variance == pytest.approx(own + kernels)
    assert kernels.max() > 0


def test_is_surer_where_runs_are():
    runs, law = example()
    process = _ResidualGP(runs, law, _Kernel(16, 0.7, 0.0), 0.05, np.ones(3), _KernelCache())
    inside, corner = process.variance(np.array([runs.ratios[0], [0.0, 0.0, 1.0]]))
    assert corner > inside
