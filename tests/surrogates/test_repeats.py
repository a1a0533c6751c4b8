import numpy as np
import pytest

import mixopt
from mixopt import Trials
from mixopt.optimization.comparisons import describe_fit
from mixopt.surrogates.repeats import assign_folds, group_repeats, measure_noise

NOISE = np.array([0.3, 0.1])


def repeated(mixtures=30, repeats=4, seed=0):
    rng = np.random.default_rng(seed)
    ratios = np.repeat(rng.dirichlet(np.ones(3), mixtures), repeats, axis=0)
    clean = np.column_stack([ratios[:, 0], ratios[:, 1] ** 0.5])
    return ratios, clean + NOISE * rng.normal(size=clean.shape)


def test_the_spread_of_repeats_is_the_noise_of_a_run():
    ratios, scores = repeated()
    noise = measure_noise(ratios, scores)
    assert noise.stds == pytest.approx(NOISE, rel=0.15)
    assert (noise.repeats, noise.mixtures) == (90, 30)


def test_no_repeats_tell_nothing():
    ratios, scores = repeated(repeats=1)
    assert measure_noise(ratios, scores) is None
    # a repeat that lacks every score but one
    ratios, scores = repeated(mixtures=2, repeats=2)
    scores[[1, 3]] = np.nan
    assert measure_noise(ratios, scores) is None


def test_one_pair_is_shrunk_to_what_all_metrics_tell():
    """In units of each metric's spread, pairs of ten metrics tell more than one pair."""
    rng = np.random.default_rng(0)
    ratios = np.vstack([rng.dirichlet(np.ones(3), 20), [[0.2, 0.3, 0.5]] * 2])
    scores = rng.normal(size=(22, 10))
    alike = scores.copy()
    alike[-1, 0] = alike[-2, 0]  # by luck
    noise = measure_noise(ratios, alike)
    assert noise.stds[0] > 0.5 * np.median(noise.stds)


def test_missing_scores_count_for_their_metric_only():
    ratios, scores = repeated()
    scores[::4, 0] = np.nan
    assert measure_noise(ratios, scores).stds == pytest.approx(NOISE, rel=0.2)


def test_repeats_share_a_fold():
    ratios, _ = repeated()
    groups, folds = group_repeats(ratios), assign_folds(ratios, 0)
    assert len(set(groups.tolist())) == 30
    assert all(len(set(folds[groups == group].tolist())) == 1 for group in range(30))
    assert len(set(folds.tolist())) == 4


def test_a_fit_says_how_many_repeats_told_the_noise():
    ratios, scores = repeated(mixtures=8, repeats=3)
    metrics = {"x": "lower", "y": "lower"}
    trials = Trials.from_arrays(ratios, scores, domains=list("abc"), metrics=metrics)
    surrogate = mixopt.fit(trials, surrogates=["ridge_root", "constant"])
    assert surrogate.noise.stds == pytest.approx(NOISE, rel=0.5)
    sentence = next(s for s in describe_fit(surrogate) if "repeats" in s)
    assert sentence.startswith("16 repeats of 8 mixtures measure the noise of one run: 0.")
    single = Trials(list(trials)[::3], trials.metrics, trials.domains)
    assert mixopt.fit(single, surrogates="ridge_root").noise is None


def test_repeats_are_of_one_fidelity():
    """A mixture that was run once small and once large was not repeated."""
    ratios, scores = repeated(mixtures=12, repeats=1)
    metrics = {"x": "lower", "y": "lower"}
    small = Trials.from_arrays(ratios, scores, domains=list("abc"), metrics=metrics)
    both = small.labelled("1M") + small.labelled("1B")
    fitted = mixopt.fit(both, fidelities=["1M", "1B"], surrogates="ridge_root")
    assert fitted.noise is None
