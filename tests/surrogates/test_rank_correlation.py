import numpy as np
import pytest
import scipy.stats

from mixopt.surrogates.rank_correlation import spearman, spearman_interval


def test_spearman_agrees_with_scipy_ties_included():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 5, 12).astype(float), rng.normal(size=12)
        assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)


def test_spearman_of_what_does_not_vary_is_unknown():
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))
    assert np.isnan(spearman(np.array([1, 2, np.nan]), np.arange(3.0)))


def test_interval_covers_as_it_says():
    """The true rank correlation lies inside about 95% of intervals over normal samples."""
    rng = np.random.default_rng(0)
    rho, n, hits, runs = 0.8, 24, 0, 600
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman of a bivariate normal
    for _ in range(runs):
        x = rng.normal(size=n)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
        low, high = spearman_interval(spearman(x, y), n)
        hits += low <= truth <= high
    assert 0.92 < hits / runs < 0.98


def test_perfect_ranking_of_few_mixtures_is_not_certain():
    low, high = spearman_interval(1.0, 6)
    assert low < 0.9
    assert high <= 1.0
    assert spearman_interval(1.0, 60)[0] > low


def test_a_perfect_ranking_has_the_interval_of_one_swap_of_neighbors():
    swapped = spearman(np.arange(6.0), np.array([1.0, 0, 2, 3, 4, 5]))
    limits = np.array([spearman_interval(rho, 6) for rho in (1.0, swapped)])
    centres = np.arctanh(limits).mean(axis=1)
    assert centres == pytest.approx(np.arctanh([swapped, swapped]))
    assert spearman_interval(-1.0, 6) == pytest.approx([-limits[0, 1], -limits[0, 0]])
