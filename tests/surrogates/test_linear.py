import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge, LinearRegression

from mixopt.surrogates.least_squares import relative_precisions
from mixopt.surrogates.linear import LeastSquares, Ridge, ScheffeQuadratic


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


def test_recovers_a_scheffe_polynomial():
    rng = np.random.default_rng(0)
    ratios, fresh = rng.dirichlet(np.ones(3), 40), rng.dirichlet(np.ones(3), 20)

    def truth(r):
        return 2 * r[:, 0] - r[:, 1] + 3 * r[:, 0] * r[:, 2]

    centre, scale = truth(ratios).mean(), truth(ratios).std()
    z = ((truth(ratios) - centre) / scale)[:, None]
    mean, _ = ScheffeQuadratic().fit(ratios, z, np.zeros(z.shape)).predict(fresh)
    assert np.allclose(mean[:, 0] * scale + centre, truth(fresh), atol=0.02)


def test_terms_are_ratios_and_their_products():
    terms = ScheffeQuadratic().terms(np.array([[0.5, 0.3, 0.2]]))
    assert np.allclose(terms, [[0.5, 0.3, 0.2, 0.15, 0.1, 0.06]])


@pytest.mark.parametrize("make", [lambda: LeastSquares("identity"), lambda: Ridge("identity"),
                                  ScheffeQuadratic])  # fmt: skip
def test_an_exact_line_is_found_where_scores_are_missing(make):
    """Those of one side: the mean of the runs with a score is not that of all runs."""
    ratios, scores, noise = example(60, noise=0.0)
    far = ratios[:, 0] >= 0.3
    some = np.where(far[:, None], np.nan, scores)
    both = np.hstack([some, scores])
    model = make().fit(ratios, both, np.hstack([noise, noise]))
    mean, std = model.predict(ratios)
    assert mean[~far, 0] == pytest.approx(scores[~far, 0], abs=0.02)
    assert mean[:, 1] == pytest.approx(scores[:, 0], abs=0.02)
    # a metric is surest in the middle of its own runs
    assert ratios[std[:, 0].argmin(), 0] < 0.3
    assert std[far, 0].mean() > 1.05 * std[far, 1].mean()


def test_weighted_least_squares_are_those_of_scikit_learn():
    ratios, scores, noise = example(noise=0.3)
    noise[:20] = np.linspace(0.1, 2.0, 20)[:, None]
    fresh = np.random.default_rng(1).dirichlet(np.ones(5), 10)
    trust = relative_precisions(noise[:, 0])
    theirs = LinearRegression().fit(ratios, scores[:, 0], trust).predict(fresh)
    ours, _ = LeastSquares("identity").fit(ratios, scores, noise).predict(fresh)
    assert ours[:, 0] == pytest.approx(theirs, abs=1e-6)
