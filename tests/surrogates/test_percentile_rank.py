from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from mixopt import Metric
from mixopt.surrogates import percentile_rank
from mixopt.surrogates.percentile_rank import PercentileRank

LOSS_AND_ACCURACY = (Metric("loss", "lower"), Metric("accuracy", "higher"))
RNG = np.random.default_rng(0)
SEEN = RNG.normal(size=(40, 2)) * [0.01, 30.0]
RANKS = PercentileRank.among(SEEN, LOSS_AND_ACCURACY, np.array([0.5, 0.5]))


def test_ranks_are_close_to_the_plain_ones_and_free_of_units():
    plain = (rankdata(-SEEN[:, 0]) + rankdata(SEEN[:, 1]) - 1) / 2 / len(SEEN)
    assert np.abs(RANKS.of(SEEN) - plain).max() < 0.1
    scaled = PercentileRank.among(SEEN * [100, 0.1], LOSS_AND_ACCURACY, np.array([0.5, 0.5]))
    assert np.allclose(scaled.of(SEEN * [100, 0.1]), RANKS.of(SEEN))


def test_better_scores_rank_higher_far_beyond_what_was_seen_too():
    far = np.array([[-1.0, 500.0], [1.0, -500.0]])
    assert RANKS.of(far) == pytest.approx([1, 0], abs=1e-6)


def test_slopes_are_the_derivative():
    at = SEEN[:5]
    for place, step in enumerate((1e-6, 1e-3)):
        moved = at.copy()
        moved[:, place] += step
        difference = (RANKS.of(moved) - RANKS.of(at)) / step
        assert RANKS.gradient(at)[:, place] == pytest.approx(difference, rel=1e-2)


def test_missing_scores_of_trials_are_left_out_and_of_candidates_told():
    seen = SEEN.copy()
    seen[0, 0] = np.nan
    ranks = PercentileRank.among(seen, LOSS_AND_ACCURACY, np.array([0.5, 0.5]))
    assert np.isfinite(ranks.of(SEEN)).all()
    assert np.isnan(ranks.of(seen)[0])
    alone = PercentileRank.among(seen, LOSS_AND_ACCURACY, np.array([0.0, 1.0]))
    assert np.isfinite(alone.of(seen)).all()


def test_errors_are_carried_by_the_slopes():
    errors = np.array([[0.001, 1.0]])
    slopes = RANKS.gradient(SEEN[:1])
    assert RANKS.std(errors, SEEN[:1])[0] == pytest.approx(np.hypot(*(slopes * errors)[0]))


def test_a_metric_that_no_trial_has_gives_no_warning():
    seen = np.column_stack([np.full(40, np.nan), SEEN[:, 1]])
    ranks = PercentileRank.among(seen, LOSS_AND_ACCURACY, np.array([0.0, 1.0]))
    assert np.isfinite(ranks.of(SEEN)).all()


def test_ranks_in_slices_are_the_same_and_small(monkeypatch):
    whole, slopes = RANKS.of(SEEN), RANKS.gradient(SEEN)
    sizes = []

    def cdf(values):
        sizes.append(values.size)
        return norm.cdf(values)

    monkeypatch.setattr(percentile_rank, "norm", SimpleNamespace(cdf=cdf, pdf=norm.pdf))
    monkeypatch.setattr(percentile_rank, "CHUNK", 7 * len(SEEN))
    assert (RANKS.of(SEEN) == whole).all()
    assert (RANKS.gradient(SEEN) == slopes).all()
    assert max(sizes) == 7 * len(SEEN)
