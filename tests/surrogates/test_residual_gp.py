import numpy as np
import pytest
from scipy.stats import multivariate_normal

from mixopt.surrogates import scaling_law
from mixopt.surrogates.kernels import matern52, square_distances
from mixopt.surrogates.least_squares import NOISE, NOISE_COUNT
from mixopt.surrogates.residual_gp import (
    Kernel,
    KernelCache,
    MetricData,
    ResidualGP,
    ScalingLawMode,
    _covariance,
    _log_evidence,
    select_kernels,
)


def example(n=25, d=3):
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(d), n)
    theta = np.concatenate([[-2.0, -1.7, -3.0, np.log(0.4), 0.0], rng.normal(size=d)])
    values, _ = scaling_law.evaluate(theta[None], ratios)
    z = values[0] + np.sin(5 * ratios[:, 0]) + 0.1 * rng.normal(size=n)
    means, precisions = theta + 0.1, np.full(len(theta), 2.0)
    return MetricData(ratios, z, np.zeros(n), np.arange(n)), ScalingLawMode(
        theta, means, precisions, 0.05
    )


def test_evidence_is_that_of_the_gaussian():
    runs, law = example()
    kernel, s2 = Kernel(4.0, 1.5, 0.0), 0.05
    values, jacobian = scaling_law.evaluate(law.parameters[None], runs.ratios)
    points = np.sqrt(runs.ratios)
    near = matern52(square_distances(points, points), kernel.length)
    covariance = s2 * (kernel.rho * near + np.eye(25))
    covariance += jacobian[0] @ np.diag(1 / law.precisions) @ jacobian[0].T
    mean = values[0] + jacobian[0] @ (law.means - law.parameters)
    exact = multivariate_normal(mean, covariance).logpdf(runs.z) + 25 / 2 * np.log(2 * np.pi)
    right = np.column_stack([runs.z - mean, jacobian[0] * law.precisions**-0.5])
    ours = _log_evidence(
        _covariance(runs, kernel, np.ones(3), s2, KernelCache()), runs, right, np.array([s2])
    )[0]
    prior = NOISE_COUNT / 2 * (np.log(s2) + NOISE / s2)
    assert ours + prior == pytest.approx(exact, rel=1e-8)


def test_kernels_that_share_a_cache_are_those_without_it():
    """The variance is a factor on the correlation that kernels of one length share."""
    runs, _ = example()
    stretch, cache = np.array([1.0, 0.3, 0.5]), KernelCache()
    right = np.column_stack([runs.z, runs.ratios[:, 0]])
    for kernel in (Kernel(1, 1.5, 0.5), Kernel(16, 1.5, 0.5), Kernel(16, 3.0, 0.0)):
        shared = _covariance(runs, kernel, stretch, 0.05, cache).gram(right)
        alone = _covariance(runs, kernel, stretch, 0.05, KernelCache()).gram(right)
        points = np.sqrt(runs.ratios) * stretch**kernel.tilt
        dense = np.eye(25) + kernel.rho * matern52(square_distances(points, points), kernel.length)
        assert shared == pytest.approx(alone)
        assert shared == pytest.approx(right.T @ np.linalg.solve(dense, right))
    assert len(cache.correlations) == 2
    assert set(cache.of_all_metrics().correlations) == {(0.0, 3.0, 25)}


def test_what_the_law_misses_is_found():
    runs, law = example()
    kept = select_kernels(
        runs, law, [Kernel(0, 1, 0), Kernel(16, 1.5, 0)], np.ones(3), 2, KernelCache()
    )
    assert kept[0][0].rho == 16
    assert 0.9 < sum(share for _, _, share in kept) <= 1 + 1e-9


def test_variance_of_a_difference_is_that_of_the_pair():
    runs, law = example()
    process = ResidualGP(
        runs, law, Kernel(4, 1.5, 0.5), 0.05, np.array([1.0, 0.3, 0.5]), KernelCache()
    )
    points = np.random.default_rng(1).dirichlet(np.ones(3), 4)
    apart = process.variance_of_difference(points, points[0])
    assert apart[0] == pytest.approx(0, abs=1e-10)
    # Var(a - b) = Var(a) + Var(b) - 2 Cov, and Cov is bounded by Cauchy-Schwarz
    own = process.variance(points)
    widest = np.square(np.sqrt(own) + np.sqrt(own[0]))
    assert (apart <= widest + 1e-9).all()
    assert (apart >= np.square(np.sqrt(own) - np.sqrt(own[0])) - 1e-9).all()


def test_is_surer_where_runs_are():
    runs, law = example()
    process = ResidualGP(runs, law, Kernel(16, 0.7, 0.0), 0.05, np.ones(3), KernelCache())
    inside, corner = process.variance(np.array([runs.ratios[0], [0.0, 0.0, 1.0]]))
    assert corner > inside
