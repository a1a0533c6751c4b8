import numpy as np
import pytest
from runs_on_simplex import METRICS as TABLE_METRICS
from runs_on_simplex import table as runs_table

from mixopt import Metric, Mixture, Score, Trial, Trials
from mixopt.optimization.proxy_validation import (
    mean_over_seeds,
    measure_fidelity,
    own_domain_baseline,
    quarter_overlap,
    validate_trials,
    weigh_purchases,
)
from mixopt.optimization.validation import Cost, RankFidelity
from mixopt.surrogates.fit import fit
from mixopt.surrogates.rank_correlation import spearman
from mixopt.surrogates.utility import Utility

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
    return Utility.standardized(scale, scale.search_metrics)


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


PRICES = {"expert_tokens": 3000, "merge_tokens": 10, "run_tokens": 1000}


def weigh(spearman, corrected=None, known=None, ceiling=0.9, **prices):
    proxies = runs_table(24, "merged", noise=0.02)
    overall = RankFidelity("overall", "merged", spearman, (0.1, 0.9), ceiling, 0.3, 0.5, 2)
    found = weigh_purchases(
        overall, surrogate=fit(proxies), corrected=corrected,
        truth=np.zeros(0) if known is None else known,
        trials=24, runs=8, **PRICES | prices,
    )  # fmt: skip
    return {purchase.what: purchase for purchase in found}, found


def test_longer_experts_buy_at_most_what_the_proxy_misses():
    found, _ = weigh(0.5)
    overall = RankFidelity("overall", "merged", 0.5, (0.1, 0.9), 0.9, 0.3, 0.5, 2)
    assert found["experts"].gain == pytest.approx(overall.attainable - 0.5)
    assert found["experts"].at_most
    assert found["experts"].tokens == 3000
    assert weigh(0.999)[0]["experts"].gain == 0


def test_given_experts_cannot_be_bought_and_chance_is_where_gains_begin():
    """A study of given experts read "at most +2.000 of rank for 0 tokens"."""
    assert "experts" not in weigh(-1.0, expert_tokens=0)[0]
    found = weigh(-1.0)[0]
    assert found["experts"].gain == weigh(0.0)[0]["experts"].gain <= 1
    assert found["merges"].gain == 0


def test_merges_buy_half_of_what_the_surrogate_misses_of_the_proxy():
    found, _ = weigh(0.8)
    assert 0 <= found["merges"].gain < 0.8 * 0.25
    assert found["merges"].tokens == 240
    assert "runs" not in found


def test_candidates_of_ensembles_cost_nothing_and_come_first():
    found, ordered = weigh(0.8, merge_tokens=0)
    assert found["merges"].gain > 0
    assert [each.what for each in ordered] == ["merges", "experts"]


def test_real_runs_buy_what_they_mend_of_those_left_out():
    proxies = runs_table(24, "merged", noise=0.02)
    runs = runs_table(12, "trained", seed=5)
    corrected = fit(proxies + runs)
    known = corrected.utility.of(runs.values(TABLE_METRICS))
    found, ordered = weigh(0.2, corrected, known)
    assert found["runs"].gain > 0.3
    assert found["runs"].tokens == 8000
    assert [p.per_token for p in ordered] == sorted([p.per_token for p in ordered], reverse=True)


def test_seeds_become_one_trial_with_their_error():
    tables = [
        runs_table(4, "trained", noise=0.1, seed=0),
        runs_table(4, "trained", noise=0.0, seed=0),
    ]
    mean = mean_over_seeds(tables)
    values = [t.values(TABLE_METRICS) for t in tables]
    assert mean.values(TABLE_METRICS) == pytest.approx((values[0] + values[1]) / 2)
    assert mean.std_errors(TABLE_METRICS) == pytest.approx(np.abs(values[0] - values[1]) / 2)
    assert mean[0].tokens == 2000
    assert np.isnan(mean_over_seeds(tables[:1]).std_errors(TABLE_METRICS)).all()
