import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge, LinearRegression

from mixopt.surrogates.linear import LeastSquares, Ridge


def example(n=40, noise=0.2):
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(5), n)
    scores = 3 * ratios[:, :1] - 2 * ratios[:, 1:2] + noise * rng.normal(size=(n, 1))
    return ratios, scores - scores.mean(), np.zeros((n, 1))


def test_least_squares_is_that_of_scikit_learn():
    ratios, scores, noise = example()
    fresh = np.random.default_rng(1).dirichlet(np.ones(5), 10)
    theirs = LinearRegression().fit(ratios, scores[:, 0]).predict(fresh)
    ours, _ = LeastSquares("identity").fit(ratios, scores, noise).predict(fresh)
    assert ours[:, 0] == pytest.approx(theirs, abs=1e-6)


def test_ridge_is_close_to_bayesian_ridge():
    """Both maximise the same evidence; priors on the noise and the scaling of terms differ."""
    ratios, scores, noise = example(noise=0.5)
    scaled = (ratios - ratios.mean(0)) / ratios.std(0)
    theirs = BayesianRidge().fit(scaled, scores[:, 0])
    mean, std = Ridge("identity").fit(ratios, scores, noise).predict(ratios)
    expected, deviation = theirs.predict(scaled, return_std=True)
    assert mean[:, 0] == pytest.approx(expected, abs=0.03)
    assert std[:, 0] == pytest.approx(deviation, rel=0.1)


def test_shrinkage_beats_none_where_runs_are_few():
    ratios, scores, noise = example(8, noise=1.0)
    fresh = np.random.default_rng(1).dirichlet(np.ones(5), 200)
    truth = 3 * fresh[:, 0] - 2 * fresh[:, 1]
    truth -= truth.mean()

    def error(model):
        mean = model("identity").fit(ratios, scores, noise).predict(fresh)[0][:, 0]
        return np.square(mean - mean.mean() - truth).mean()

    assert error(Ridge) < error(LeastSquares)


def test_a_noisy_score_counts_less():
    ratios, scores, noise = example(noise=0.01)
    scores[0] += 30.0
    noise[0] = 900.0
    deaf = Ridge("identity").fit(ratios, scores, np.zeros_like(noise)).predict(ratios)[0]
    heeding = Ridge("identity").fit(ratios, scores, noise).predict(ratios)[0]
    assert np.abs(heeding[1:] - scores[1:]).mean() < 0.2 * np.abs(deaf[1:] - scores[1:]).mean()
