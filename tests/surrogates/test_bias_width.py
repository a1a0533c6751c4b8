from dataclasses import replace

import numpy as np
import pytest
from gain_world import EXPERT, at, draw_mixtures, make_model, runs

from mixopt.surrogates.gain_model import GainPrior


def test_runs_far_from_their_ensembles_widen_the_bias_of_their_metric():
    """Three runs that agree on a large loss are believed, as a joint normal of fixed widths does not."""
    noisy, rows = replace(make_model(), noise_sd=np.full(5, 1.2)), draw_mixtures(1)
    known = at(np.repeat(rows, 3, axis=0), 4 * EXPERT)
    gains = np.tile(noisy.mean(known)[0], (3, 1))
    gains[:, 1] -= [19.0, 20.0, 21.0]
    observed = runs(known, gains, [0, 1, 2])
    posterior, stiff = (
        replace(noisy, prior=GainPrior(bias_freedom=freedom)).condition(observed)
        for freedom in (4.0, np.inf)
    )
    factor = posterior.model.bias_factor
    assert factor[1] > 3
    assert factor[[0, 2, 3, 4]] == pytest.approx(1.0)
    assert stiff.model.bias_factor == pytest.approx(1.0)
    asked = at(rows, 4 * EXPERT)
    (mean,), covariance = posterior.gains(asked)
    believed = gains[:, 1].mean()
    assert mean[1] == pytest.approx(believed, rel=0.1)
    assert stiff.gains(asked)[0][0, 1] > 0.75 * believed
    # elsewhere the metric is known badly, and the others as before
    away = at(draw_mixtures(1, seed=9), 4 * EXPERT)
    wide, narrow = (
        np.sqrt(np.einsum("iaia->a", each.gains(away)[1])) for each in (posterior, stiff)
    )
    assert wide[1] > 2 * narrow[1]
    assert wide[0] == pytest.approx(narrow[0], rel=0.2)
    assert covariance.shape == (1, 5, 1, 5)


def test_runs_that_the_prior_draws_leave_the_bias_as_it_is():
    model, rng, factors = make_model(), np.random.default_rng(0), []
    for _ in range(60):
        known = at(rng.dirichlet(np.ones(4), size=5), 2e5)
        truth = model.condition(None).draw(known, None, 1, rng)[0]
        noise = rng.multivariate_normal(
            np.zeros(25), model.noise(runs(known, np.zeros((5, 5)))).reshape(25, 25)
        )
        gains = truth + noise.reshape(5, 5)
        gains[0, 0] = np.nan
        factors.append(model.condition(runs(known, gains)).model.bias_factor)
    assert np.median(factors) == 1.0
    assert np.mean(np.array(factors) > 2) < 0.05


def test_a_metric_without_any_score_keeps_its_bias():
    model = make_model()
    gains = np.full((2, 5), 0.1)
    gains[:, 3] = np.nan
    found = model.condition(runs(at(draw_mixtures(2), 2e5), gains, [0, 1]))
    assert found.model.bias_factor[3] == 1.0


def test_the_error_of_what_merges_predict_is_widened_too():
    model, rows = replace(make_model(), noise_sd=np.full(5, 0.3)), draw_mixtures(4)
    known = replace(at(rows, 2e5), proxy_errors=np.full((4, 5), 2.0))
    gains = model.mean(known)
    gains[:, 1] -= 30.0
    observed = replace(runs(known, gains, range(4)), proxy_errors=known.proxy_errors)
    found = model.condition(observed).model
    assert found.bias_factor[1] > 3
    ratio = found.amplitudes(known) / model.amplitudes(known)
    assert ratio == pytest.approx(np.tile(found.bias_factor, (4, 1)))


@pytest.mark.parametrize("residual", [0.5, 6.0, 9.0, 20.0])
def test_the_factor_is_the_mean_of_its_posterior(residual):
    """Summed over s² by the trapezoidal rule; the mode of the posterior is another number."""
    noisy = replace(
        make_model(), noise_sd=np.full(5, 2.0), prior=GainPrior(scale_sd=0.0, growth_sd=0.0)
    )
    known = at(draw_mixtures(1), 4 * EXPERT)
    gains = noisy.mean(known)
    gains[0, 1] -= residual
    bias = (noisy.amplitudes(known)[0, 1] * noisy.growth(known.tokens)[0]) ** 2

    def density(square):
        variance = bias * square + 4.0
        return square**-3 * np.exp(-1 / square - residual**2 / (2 * variance)) / np.sqrt(variance)

    squares = np.geomspace(1e-3, 1e5, 40_001)
    weights = density(squares)
    expected = np.trapezoid(weights * squares, squares) / np.trapezoid(weights, squares)
    factor = noisy.condition(runs(known, gains, [0])).model.bias_factor[1]
    assert factor**2 == pytest.approx(max(1.0, expected), rel=0.03)
