import numpy as np
import pytest
import scipy.stats

from mixopt import Metric, Mixture, Score, Trial, Trials
from mixopt.optimization.rank_fidelity import (
    measure_fidelity,
    own_domain_baseline,
    quarter_overlap,
    spearman,
    spearman_interval,
    validate_trials,
)
from mixopt.surrogates.utility import Utility
from mixopt.validation import Cost

METRICS = (Metric("own", "lower", "x", own_domain="a"), Metric("far", "higher", "y"))
NAMES = ["natural", "uniform", "proposal", *[f"m{i}" for i in range(9)]]


def table(far, *, kind="trained", suffix=""):
    """Own loss falls exactly with log of a's ratio; `far` is given."""
    trials = []
    for i, name in enumerate(NAMES):
        share = (i + 1) / 13
        scores = {"own": Score(-np.log(share)), "far": Score(float(far[i]))}
        trials.append(
            Trial(name + suffix, Mixture({"a": share, "b": 1 - share}), scores, kind=kind)
        )
    return Trials(trials, METRICS, ("a", "b"))


def plain(scale):
    return Utility.standardised(scale, scale.search_metrics)


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


def test_quarter_overlap_by_hand():
    truth = np.arange(8.0)
    assert quarter_overlap(truth, truth) == 1
    assert quarter_overlap(-truth, truth) == 0
    assert quarter_overlap(np.array([0, 0, 0, 0, 0, 9, 0, 8.0]), truth) == 0.5


def test_baseline_is_the_log_of_the_own_domain_alone():
    trials = table(np.zeros(12))
    assert np.isnan(own_domain_baseline(trials, [METRICS[1]])).all()
    baseline = own_domain_baseline(trials, METRICS)
    assert spearman(baseline, -trials.values([METRICS[0]])[:, 0]) == pytest.approx(1)


def test_fidelity_of_a_perfect_and_of_a_blind_proxy():
    rng = np.random.default_rng(0)
    far = rng.normal(size=12)
    trained = [table(far, suffix="-0"), table(far + 0.01 * rng.normal(size=12), suffix="-1")]
    good, blind = table(far, kind="merged"), table(rng.permutation(far), kind="ensembled")
    rows = measure_fidelity({"merged": good, "ensembled": blind}, trained, utility=plain)
    found = {(row.proxy, row.name): row for row in rows}
    assert found["merged", "far"].spearman > 0.95
    assert abs(found["ensembled", "far"].spearman) < 0.7
    assert found["merged", "own"].baseline == pytest.approx(1)
    assert np.isnan(found["merged", "far"].baseline)
    assert found["merged", "far"].ceiling > 0.9
    assert found["merged", "overall"].spearman > found["ensembled", "overall"].spearman


def test_one_seed_has_no_ceiling():
    rows = measure_fidelity(
        {"merged": table(np.arange(12.0), kind="merged")},
        [table(np.arange(12.0))],
        utility=plain,
    )
    assert all(np.isnan(row.ceiling) for row in rows)


def test_constant_proxy_finds_nothing():
    assert np.isnan(quarter_overlap(np.ones(8), np.arange(8.0)))


def test_validation_regret_and_gain_by_hand():
    far = np.zeros(12)
    far[2], far[5] = 1.0, 3.0  # the proposal, and the truly best
    own = -np.log(np.arange(1, 13) / 13)
    by_hand = (-(own - own.mean()) / own.std() + (far - far.mean()) / far.std()) / 2
    cost = Cost(1, 2.0, 3, 4.0)
    trained = [table(far), table(far)]
    proxy = {"merged": table(far, kind="merged"), "ensembled": table(-far, kind="ensembled")}
    validation = validate_trials(proxy, trained, utility=plain, cost=cost)
    assert validation.mixtures == tuple(NAMES)
    assert validation.utilities == pytest.approx(by_hand)
    assert validation.regret == pytest.approx(by_hand[5] - by_hand[2])
    assert validation.gain == pytest.approx([by_hand[2] - by_hand[0]] * 2)
    assert validation.proxy_regret["merged"] == pytest.approx(
        by_hand.max() - by_hand[by_hand.argmax()]
    )
    assert validation.proxy_regret["ensembled"] > 0
