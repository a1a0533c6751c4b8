from dataclasses import replace

import numpy as np
import pytest
from gain_world import EXPERT, NATURAL, SLOPES, at, draw_mixtures, make_model, runs
from scipy.stats import kstest, multivariate_normal

from mixopt.surrogates.gain_model import GainModel, GainPrior, Mixtures, usual_spreads


def test_without_runs_the_gain_is_the_ensembles_times_its_growth():
    model = make_model(scale=1.1, growth=0.5)
    asked = at(draw_mixtures(3), 4 * EXPERT)
    mean, covariance = model.condition(None).gains(asked)
    assert mean == pytest.approx(2.2 * asked.proxy_gains)
    assert np.diag(covariance.reshape(15, 15)).min() > 0


def test_natural_gains_nothing_for_certain():
    model = make_model()
    rows = draw_mixtures(4)
    posterior = model.condition(runs(at(rows, EXPERT), np.ones((4, 5))))
    mean, covariance = posterior.gains(at(NATURAL, 4 * EXPERT))
    assert np.abs(mean).max() < 1e-9
    assert np.abs(covariance).max() < 1e-9


def test_bias_grows_with_the_distance_from_natural_and_for_metrics_without_spread():
    model = make_model(scale_sd=0.0, growth_sd=0.0, relative=0.0, bias=0.3, bias_floor=0.1)
    rows = np.stack([0.9 * NATURAL + 0.1 * np.eye(4)[0], np.eye(4)[3]])
    _, covariance = model.condition(None).gains(at(rows, EXPERT))
    sd = np.sqrt(np.einsum("iaia->ia", covariance))
    assert (sd[1] > 3 * sd[0]).all()
    assert sd[1, 4] > 2 * sd[1, 0]  # in units of its own spread


def test_bias_grows_with_the_ensembles_gain():
    rows = draw_mixtures(1)
    far = Mixtures(rows, np.array([EXPERT]), 3 * (rows - NATURAL) @ SLOPES)
    model = make_model(scale_sd=0.0, growth_sd=0.0, bias=1e-6, bias_floor=1e-6, relative=0.3)
    sds = [
        np.sqrt(np.einsum("iaia->ia", model.covariance(one, one)))
        for one in (at(rows, EXPERT), far)
    ]
    assert sds[1] == pytest.approx(3 * sds[0], rel=1e-3)


def test_likelihood_is_that_of_the_joint_normal():
    model = make_model()
    observed = runs(
        at(draw_mixtures(3), 2e5), np.random.default_rng(1).normal(size=(3, 5)), [0, 0, 1]
    )
    posterior = model.condition(observed)
    model = posterior.model
    covariance = model.covariance(observed, observed) + model.noise(observed)
    expected = multivariate_normal(model.mean(observed).ravel(), covariance.reshape(15, 15))
    likelihood = posterior.log_likelihood
    assert likelihood == pytest.approx(expected.logpdf(observed.gains.ravel()), rel=1e-6)


def test_posterior_is_the_conditional_of_the_joint_normal_where_scores_are_missing():
    model = make_model()
    gains = np.random.default_rng(1).normal(size=(3, 5))
    gains[1, 2] = gains[2, 0] = np.nan
    observed, asked = runs(at(draw_mixtures(3), 2e5), gains), at(draw_mixtures(2, seed=9), 8e5)
    posterior = model.condition(observed)
    mean, covariance = posterior.gains(asked)
    model = posterior.model  # with the bias as wide as the runs tell
    seen = np.isfinite(gains).ravel()
    inner = (model.covariance(observed, observed) + model.noise(observed)).reshape(15, 15)
    cross = model.covariance(asked, observed).reshape(10, 15)[:, seen]
    gain = cross @ np.linalg.inv(inner[np.ix_(seen, seen)])
    miss = (gains - model.mean(observed)).ravel()[seen]
    prior = model.covariance(asked, asked).reshape(10, 10)
    assert mean.ravel() == pytest.approx(model.mean(asked).ravel() + gain @ miss, abs=1e-6)
    assert covariance.reshape(10, 10) == pytest.approx(prior - gain @ cross.T, abs=1e-6)


def test_a_run_narrows_the_gain_of_its_neighbours_more_than_that_of_others():
    model = make_model(bias=1.0, length_scale=0.3)
    near = draw_mixtures(1)[0]
    asked = at(np.stack([0.95 * near + 0.05 * NATURAL, np.eye(4)[3]]), 2e5)
    posterior = model.condition(runs(at(near, 2e5), at(near, 2e5).proxy_gains + 1))
    sds = [
        np.sqrt(np.einsum("iaia->ia", p.gains(asked)[1]))
        for p in (model.condition(None), posterior)
    ]
    narrowed = sds[1] / sds[0]
    assert (narrowed[0] < 0.5).all()
    assert (narrowed[1] > narrowed[0]).all()


def test_a_second_seed_tells_more_than_a_second_checkpoint_of_the_same_run():
    model = make_model(noise_forgetting=0.1)
    model = replace(model, noise_sd=np.full(5, 2.0))
    rows = np.tile(draw_mixtures(1), (2, 1))
    asked = at(rows[:1], 2e5)

    def sd(tokens, seeds):
        mixtures = Mixtures(rows, np.array(tokens), (rows - NATURAL) @ SLOPES)
        covariance = model.condition(runs(mixtures, np.zeros((2, 5)), seeds)).gains(asked)[1]
        return np.sqrt(np.einsum("iaia->ia", covariance))

    assert (sd([2e5, 2e5], [0, 1]) < sd([1e5, 2e5], [0, 0])).all()


def test_draws_have_the_posteriors_moments():
    model = make_model()
    posterior = model.condition(runs(at(draw_mixtures(3), 2e5), np.zeros((3, 5))))
    asked, weights = at(draw_mixtures(4, seed=2), 4e5), np.array([[0.5, 0.5, 0, 0, 0], [0.2] * 5])
    mean, covariance = posterior.gains(asked, weights)
    draws = posterior.draw(asked, weights, 20_000, np.random.default_rng(0))
    assert draws.shape == (20_000, 4, 2)
    assert draws.mean(axis=0) == pytest.approx(mean, abs=0.03)
    expected = covariance.reshape(8, 8)
    assert np.cov(draws.reshape(20_000, 8).T) == pytest.approx(expected, abs=0.05 * expected.max())


def test_simulation_based_calibration():
    """Ranks of the truth among posterior draws are uniform (Talts et al. 2018, arXiv:1804.06788)."""
    model, rng = make_model(), np.random.default_rng(0)
    weights = np.array([[0.25, 0.25, 0.25, 0.25, 0.0], [0, 0, 0, 0, 1.0]])
    ranks = []
    for turn in range(300):
        rows = rng.dirichlet(np.ones(4), size=7)
        tokens = np.array([1e5, 2e5, 2e5, 2e5, 8e5, 8e5, 8e5])
        everything = Mixtures(rows, tokens, (rows - NATURAL) @ SLOPES)
        truth = model.condition(None).draw(everything, None, 1, rng)[0]
        first = Mixtures(rows[:4], tokens[:4], everything.proxy_gains[:4])
        seeds = np.array([0, 0, 1, 1])
        silent = runs(first, np.zeros((4, 5)), seeds)
        noise = rng.multivariate_normal(np.zeros(20), model.noise(silent).reshape(20, 20))
        observed = runs(first, truth[:4] + noise.reshape(4, 5), seeds)
        asked = Mixtures(rows[4:], tokens[4:], everything.proxy_gains[4:])
        draws = model.condition(observed).draw(asked, weights, 99, rng)
        # one number a turn: ranks of one truth are not independent
        place = turn % 3, turn % 2
        ranks.append((draws[:, *place] < (truth[4:] @ weights.T)[place]).sum())
    assert kstest((np.array(ranks) + rng.uniform(size=300)) / 100, "uniform").pvalue > 0.01


def test_the_noise_of_a_combination_is_that_of_drawn_runs():
    """Noise is correlated inside a capability: two metrics of one do not average it out."""
    model = replace(make_model(noise_within=0.6), noise_sd=np.array([0.1, 0.2, 0.3, 0.1, 0.4]))
    weights = np.array([[0.5, 0.5, 0, 0, 0], [0.2] * 5, [0, 0, 0, 0, 1.0]])
    one = runs(at(draw_mixtures(1), 2e5), np.zeros((1, 5)))
    drawn = np.random.default_rng(0).multivariate_normal(
        np.zeros(5), model.noise(one).reshape(5, 5), size=40_000
    )
    noise = model.combined_noise(weights)
    assert noise == pytest.approx((drawn @ weights.T).std(axis=0), rel=0.02)
    alone = np.hypot(0.05, 0.1)
    assert noise[0] == pytest.approx(np.sqrt(alone**2 + 2 * 0.6 * 0.05 * 0.1))


def test_a_usual_spread_is_that_of_varying_metrics_in_one_unit():
    """Losses, a perplexity, and accuracies of which one is stuck at chance."""
    spreads = np.array([0.05, 0.1, 0.2, 3.0, 0.01, 1.0])
    units = ["bits", "bits", "bits", "perplexity", "share", "share"]
    varying = np.array([True] * 5 + [False])
    usual = usual_spreads(spreads, units, varying)
    assert usual == pytest.approx([0.1, 0.1, 0.1, 3.0, 0.01, 1.0])
    prior = GainPrior()
    model = GainModel(prior, NATURAL, EXPERT, spreads, np.arange(6), np.full(6, 0.1), usual)
    alone = replace(model, spreads=spreads[:3], usual_spreads=None)
    assert model.bias_sd[:3] == pytest.approx(alone.bias_sd)
    assert model.bias_sd[3:] == pytest.approx(np.full(3, np.hypot(prior.bias, prior.bias_floor)))


def test_gains_over_another_mixture_are_differences_of_gains_over_natural():
    model, rows = make_model(), draw_mixtures(3, seed=2)
    seen = runs(at(draw_mixtures(4, seed=3), EXPERT), np.full((4, 5), 0.3))
    asked, weights = at(rows, 4 * EXPERT), np.random.default_rng(0).normal(size=(2, 5))
    over = model.condition(seen, base=at(rows[2], EXPERT))
    mean, covariance = over.gains(asked, weights)
    plain, joint = model.condition(seen).gains(asked, weights)
    assert mean == pytest.approx(plain - plain[2])
    first, last = joint[0, 0], joint[2, 0]
    assert covariance[0, 0, 0, 0] == pytest.approx(first[0, 0] - 2 * first[2, 0] + last[2, 0])
    assert np.abs(covariance[2]).max() < 1e-9
    assert over.over_natural.gains(asked, weights)[0] == pytest.approx(plain)
