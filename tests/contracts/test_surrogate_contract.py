"""What every surrogate must do, whatever its law."""

import numpy as np
import pytest

from mixopt.proposals.surrogates import SURROGATES, surrogate_factory


@pytest.fixture(params=list(SURROGATES))
def make(request):
    return surrogate_factory(request.param)


def data(n, d=4, seed=0):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(d), size=n)
    scores = ratios[:, 0] - ratios[:, 1] + 0.5 * np.sqrt(ratios[:, 2])
    return ratios, (scores - scores.mean()) / scores.std()


def test_shapes_and_finite_positive_deviations(make):
    mean, std = make(0).fit(*data(20)).predict(data(7, seed=1)[0])
    assert mean.shape == std.shape == (7,)
    assert np.isfinite(mean).all()
    assert (std > 0).all()


def test_learns_from_few_runs(make):
    """16 runs are enough to rank new mixtures: library defaults of trees are a constant there."""
    ratios, scores = data(16)
    fresh, truth = data(200, seed=1)
    mean, _ = make(0).fit(ratios, scores).predict(fresh)
    assert np.corrcoef(mean, truth)[0, 1] > 0.6


def test_same_seed_same_prediction(make):
    fresh = data(5, seed=1)[0]
    first, second = make(3).fit(*data(20)).predict(fresh), make(3).fit(*data(20)).predict(fresh)
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()


def test_repeated_mixtures_with_different_scores_are_noise(make):
    ratios, scores = data(12)
    doubled = np.vstack([ratios, ratios])
    noisy = np.concatenate([scores + 0.5, scores - 0.5])
    mean, std = make(0).fit(doubled, noisy).predict(ratios)
    assert np.isfinite(mean).all()
    assert std.mean() > 0.2


def test_no_warning_leaks(make, recwarn):
    make(0).fit(*data(8)).predict(data(3, seed=1)[0])
    assert [str(warning.message) for warning in recwarn] == []
