import numpy as np
import pytest

from mixopt import Metric, Mixture, Score, Trial, Trials
from mixopt.optimization.compute_allocation import Prices, mean_over_seeds, weigh_purchases
from mixopt.surrogates.fit import fit
from mixopt.validation import RankFidelity

METRICS = [Metric("loss", "lower", "x"), Metric("acc", "higher", "y")]
DOMAINS = ("a", "b", "c")


def truth(ratios):
    loss = -np.log(ratios[:, 0] + 0.05) - 0.5 * np.log(ratios[:, 1] + 0.05)
    return np.stack([loss, np.sqrt(ratios[:, 2])], axis=1)


def table(n, kind, noise=0.0, seed=0, prefix="t"):
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(3), n)
    values = truth(ratios) + noise * np.random.default_rng(seed + 100).normal(size=(n, 2))
    return Trials(
        [
            Trial(f"{prefix}{i}", Mixture(dict(zip(DOMAINS, row.tolist(), strict=True))),
                  {m.name: Score(float(v)) for m, v in zip(METRICS, scores, strict=True)},
                  kind=kind, tokens=1000, flops=1.0)
            for i, (row, scores) in enumerate(zip(ratios, values, strict=True))
        ],
        METRICS,
        DOMAINS,
    )  # fmt: skip


PRICES = Prices(expert_tokens=3000, merge_tokens=10, run_tokens=1000)


def weigh(spearman, corrected=None, known=None, ceiling=0.9):
    proxies = table(24, "merged", noise=0.02)
    overall = RankFidelity("overall", "merged", spearman, (0.1, 0.9), ceiling, 0.3, 0.5, 2)
    found = weigh_purchases(
        overall, surrogate=fit(proxies), corrected=corrected,
        truth=np.zeros(0) if known is None else known,
        trials=24, runs=8, prices=PRICES,
    )  # fmt: skip
    return {purchase.what: purchase for purchase in found}, found


def test_longer_experts_buy_at_most_what_the_proxy_misses():
    found, _ = weigh(0.5)
    overall = RankFidelity("overall", "merged", 0.5, (0.1, 0.9), 0.9, 0.3, 0.5, 2)
    assert found["experts"].gain == pytest.approx(overall.attainable - 0.5)
    assert found["experts"].at_most
    assert found["experts"].tokens == 3000
    assert weigh(0.999)[0]["experts"].gain == 0


def test_merges_buy_half_of_what_the_surrogate_misses_of_the_proxy():
    found, _ = weigh(0.8)
    assert 0 <= found["merges"].gain < 0.8 * 0.25
    assert found["merges"].tokens == 240
    assert "runs" not in found


def test_real_runs_buy_what_they_mend_of_those_left_out():
    proxies = table(24, "merged", noise=0.02)
    runs = table(12, "trained", seed=5)
    corrected = fit(proxies + runs)
    known = corrected.utility.of(runs.values(METRICS))
    found, ordered = weigh(0.2, corrected, known)
    assert found["runs"].gain > 0.3
    assert found["runs"].tokens == 8000
    assert [p.per_token for p in ordered] == sorted([p.per_token for p in ordered], reverse=True)


def test_seeds_become_one_trial_with_their_error():
    tables = [table(4, "trained", noise=0.1, seed=0), table(4, "trained", noise=0.0, seed=0)]
    mean = mean_over_seeds(tables)
    values = [t.values(METRICS) for t in tables]
    assert mean.values(METRICS) == pytest.approx((values[0] + values[1]) / 2)
    assert mean.std_errors(METRICS) == pytest.approx(np.abs(values[0] - values[1]) / 2)
    assert mean[0].tokens == 2000
    assert np.isnan(mean_over_seeds(tables[:1]).std_errors(METRICS)).all()
