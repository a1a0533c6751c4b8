from dataclasses import replace

import numpy as np
import pytest

from mixopt import Metric, Mixture, Score, SearchSpace, Trial, Trials, fit
from mixopt.errors import HoldoutError, TrialsError
from mixopt.optimization.comparisons import _best_seen

DOMAINS = ("a", "b", "c")
RIDGE = "ridge_root"
"""A cheap model, for tests of what does not depend on the models."""


def smooth_trials(n, *, noise=0.01, seed=0, missing=()):
    """Two losses with a known optimum, one noisy, one constant, one holdout."""
    rng = np.random.default_rng(seed)
    ratios = rng.dirichlet(np.ones(3), size=n)
    first = -np.sqrt(ratios[:, 0]) - 0.5 * np.sqrt(ratios[:, 1]) + noise * rng.normal(size=n)
    second = (ratios[:, 2] - 0.3) ** 2 + noise * rng.normal(size=n)
    metrics = [
        Metric("first", "lower", "one"),
        Metric("second", "lower", "two"),
        Metric("flat", "higher", "two"),
        Metric("secret", "higher", "two", role="holdout"),
    ]
    trials = []
    for index in range(n):
        scores = {
            "first": first[index],
            "second": second[index],
            "flat": 0.25,
            "secret": first[index],
        }
        if index in missing:
            del scores["first"]
        trials.append(
            Trial(
                f"t{index}",
                Mixture.from_vector(DOMAINS, ratios[index]),
                {name: Score(float(value), 0.01) for name, value in scores.items()},
            )  # fmt: skip
        )
    return Trials(trials, metrics, DOMAINS)


def test_predictions_on_new_mixtures_follow_the_truth():
    surrogate, fresh = fit(smooth_trials(32)), smooth_trials(200, noise=0, seed=9)
    mean, std = surrogate.predict(fresh.ratios())
    truth = fresh.values(fresh.search_metrics)
    for column in (0, 1):
        error = mean[:, column] - truth[:, column]
        assert np.corrcoef(mean[:, column], truth[:, column])[0, 1] > 0.95
        assert np.sqrt((error**2).mean()) < 0.4 * truth[:, column].std()
        assert (np.abs(error) <= 1.96 * std[:, column]).mean() > 0.8  # bars that hold
    assert (std >= 0).all()


@pytest.fixture(scope="module")
def sixteen():
    return fit(smooth_trials(16), surrogates=RIDGE)


def test_constant_metric_is_constant_and_has_no_weight(sixteen):
    names = [fitted.metric.name for fitted in sixteen.metrics]
    assert sixteen.metrics[names.index("flat")].chosen == "constant"
    assert sixteen.utility.coefficients[names.index("flat")] == 0


def test_holdout_scores_never_reach_a_surrogate(sixteen):
    assert "secret" not in [fitted.metric.name for fitted in sixteen.metrics]
    with pytest.raises(HoldoutError, match="'secret'"):
        fit(smooth_trials(16), target="secret")


def test_target_may_be_one_metric():
    surrogate = fit(smooth_trials(24), target="first", surrogates=RIDGE)
    # the others are fitted too: they inform it, and a proposal says what it costs them
    assert [fitted.metric.name for fitted in surrogate.metrics] == ["first", "second", "flat"]
    assert surrogate.utility.coefficients[1:].tolist() == [0.0, 0.0]
    mean, _ = surrogate.predict_utility(np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]))
    assert mean[0] > mean[1]  # utility is turned: a lower loss is better


def test_average_refuses_metrics_of_two_directions():
    with pytest.raises(TrialsError, match="target='utility'"):
        fit(smooth_trials(16), target="average")


def test_unknown_target_is_named():
    with pytest.raises(TrialsError, match="Did you mean 'first'"):
        fit(smooth_trials(16), target="frist")


def test_too_few_trials():
    with pytest.raises(TrialsError, match="5 trials are too few"):
        fit(smooth_trials(5))


def test_missing_scores_cost_themselves_alone():
    trials = smooth_trials(24, missing=(0, 5))
    surrogate = fit(trials, surrogates=RIDGE)
    assert np.isnan(surrogate.metrics[0].cv_predictions[[0, 5]]).all()
    assert np.isfinite(surrogate.metrics[1].cv_predictions).all()


def test_cross_validation_takes_the_law_that_is_true():
    """Scores of Scheffé's own form: no other law predicts them as well."""
    base = smooth_trials(40)
    r = base.ratios()
    exact = 2 * r[:, 0] - r[:, 1] + 3 * r[:, 0] * r[:, 2]
    trials = [
        Trial(t.id, t.ratios, {"first": Score(float(y))}) for t, y in zip(base, exact, strict=True)
    ]
    table = Trials(trials, [Metric("first")], DOMAINS)
    fitted = fit(table, surrogates=("ridge", "scheffe", "trees")).metrics[0]
    assert fitted.chosen == "scheffe"
    assert sum(fitted.weights.values()) == pytest.approx(1)


def test_predictions_stay_near_the_range_of_the_scores():
    """A quadratic through runs of one corner would explode at another."""
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet([30, 2, 2], size=24)
    scores = 50 * ratios[:, 1] * ratios[:, 2] + 3 * ratios[:, 1]
    trials = [
        Trial(str(i), Mixture.from_vector(DOMAINS, row), {"m": Score(float(y))})
        for i, (row, y) in enumerate(zip(ratios, scores, strict=True))
    ]
    surrogate = fit(Trials(trials, [Metric("m")], DOMAINS), surrogates=("scheffe",))
    mean, std = surrogate.predict(np.array([[0.0, 0.5, 0.5]]))
    width = np.ptp(scores)
    assert scores.min() - width / 2 - 1e-9 <= mean[0, 0] <= scores.max() + width / 2 + 1e-9
    assert std[0, 0] > width  # what is cut off is doubt


def test_metrics_that_never_differ_choose_nothing():
    base = smooth_trials(12)
    flat = [Trial(t.id, t.ratios, {"first": Score(1.0)}) for t in base]
    with pytest.raises(TrialsError, match="Every metric is the same in all trials"):
        fit(Trials(flat, [Metric("first")], DOMAINS), target="average")


def test_pure_noise_is_known_as_noise():
    rng = np.random.default_rng(0)
    base = smooth_trials(40)
    noisy = [
        Trial(t.id, t.ratios, {"first": Score(float(rng.normal()))}) for t in base
    ]  # fmt: skip
    surrogate = fit(Trials(noisy, [Metric("first")], DOMAINS))
    assert min(surrogate.metrics[0].cv_errors.values()) > 0.6
    _, std = surrogate.predict(base.ratios())
    assert std.mean() > 0.6  # the bars are about as wide as the noise


@pytest.mark.parametrize("seed", [4, None])
def test_same_seed_same_fit(seed):
    """An integer and a generator of the same state give one fit; fresh entropy gives another."""
    point = np.array([[0.2, 0.3, 0.5]])

    def predict(seed):
        return fit(smooth_trials(20), surrogates=("trees", RIDGE), seed=seed).predict(point)

    if seed is None:
        assert predict(None)[1] != pytest.approx(predict(None)[1], abs=0)
    else:
        first, second = predict(seed), predict(seed)
        assert (first[0] == second[0]).all()
        assert (first[1] == second[1]).all()
        drawn = [predict(np.random.default_rng(seed)) for _ in range(2)]
        assert (drawn[0][1] == drawn[1][1]).all()


def test_a_surrogate_that_needs_more_runs_is_left_out_and_said(caplog):
    surrogate = fit(smooth_trials(20), surrogates="regmix")
    assert "'regmix' needs 41 runs for 3 domains and has 20" in caplog.text
    assert "auto is fitted instead" in caplog.text
    assert "gp_log" in surrogate.model.models
    caplog.clear()
    two = fit(smooth_trials(20), surrogates=("regmix", "ridge"))
    assert list(two.model.models) == ["ridge"]
    assert "instead" not in caplog.text


def test_unknown_surrogate_is_named():
    with pytest.raises(TrialsError, match="Did you mean 'ridge'"):
        fit(smooth_trials(20), surrogates="rige")


def test_the_worst_capability_is_another_target():
    surrogate = fit(smooth_trials(30), target="worst", surrogates=RIDGE)
    mean, std = surrogate.predict_utility(np.array([[0.5, 0.2, 0.3]]))
    both = fit(smooth_trials(30), surrogates=RIDGE).predict_utility(np.array([[0.5, 0.2, 0.3]]))[0]
    assert mean[0] <= both[0] + 1e-6  # the least of two is no more than their mean
    assert std[0] > 0


def test_a_metric_with_few_scores_stands_in_nobody_s_way(caplog):
    caplog.set_level("INFO")
    trials = smooth_trials(24, missing=range(4, 24))
    surrogate = fit(trials, target="second", surrogates=RIDGE)
    assert "first" not in [fitted.metric.name for fitted in surrogate.metrics]
    assert "1 metrics with fewer than 6 scores are left out (first, ...)" in caplog.text
    with pytest.raises(TrialsError, match="'first' has 4 scores"):
        fit(trials, target="first")


def test_weights_of_capabilities_that_count_for_nothing_are_errors():
    with pytest.raises(TrialsError, match="names 'oen'.*Did you mean 'one'"):
        fit(smooth_trials(12), capability_weights={"oen": 2.0})
    with pytest.raises(TrialsError, match="apply to 'utility' alone"):
        fit(smooth_trials(12), target="first", capability_weights={"one": 2.0})


def test_runs_of_one_mixture_teach_nothing():
    table = smooth_trials(12)
    same = [replace(trial, ratios=table[0].ratios) for trial in table]
    with pytest.raises(TrialsError, match="All 12 trained trials have one mixture"):
        fit(Trials(same, table.metrics, table.domains))


def test_dear_runs_of_one_mixture_take_the_bias_off():
    cheap = smooth_trials(40, seed=1).labelled("small")
    dear = smooth_trials(9, seed=2).labelled("large")
    same = [replace(trial, ratios=dear[0].ratios, scores=dear[0].scores) for trial in dear]
    both = cheap + Trials(same, dear.metrics, dear.domains)
    fitted = fit(both, target="first", fidelities=("small", "large"), surrogates=("gp_root", RIDGE))
    at = dear[0].ratios.vector(dear.domains)[None]
    assert fitted.predict(at)[0][0, 0] == pytest.approx(dear[0].scores["first"].value, abs=0.3)


def test_scattered_gaps_leave_intervals_of_the_utility_wide_enough():
    """With a third of the cells missing and one whole run, 95% intervals still cover."""
    rng = np.random.default_rng(1)
    covered = []
    for seed in range(4):
        whole = trials_with_gaps(48, 0.0, rng, seed)
        gaps = trials_with_gaps(48, 0.35, rng, seed)
        fresh = trials_with_gaps(200, 0.0, rng, seed + 100)
        surrogate = fit(gaps, target="average", surrogates=("gp_root", "ridge_root"))
        truth = surrogate.utility.of(fresh.values(surrogate.utility.metrics))
        mean, std = surrogate.predict_utility(fresh.ratios())
        covered.append((np.abs(truth - mean) < 1.96 * std).mean())
        assert len(whole) == len(gaps)
    assert np.mean(covered) > 0.88
    assert min(covered) > 0.75


def trials_with_gaps(n, share, rng, seed):
    """Six losses whose noise they share in part; the first run is whole."""
    own = np.random.default_rng(seed)
    ratios = own.dirichlet(np.ones(3), size=n)
    noise = 0.1 * (own.normal(size=(n, 1)) + 0.5 * own.normal(size=(n, 6)))
    scores = 3 - np.sqrt(ratios)[:, [0, 1, 2, 0, 1, 2]] + noise
    metrics = [Metric(f"loss_{i}") for i in range(6)]
    gone = rng.random(scores.shape) < share
    gone[0] = False
    rows = [
        Trial(f"t{i}", Mixture.from_vector(DOMAINS, ratios[i]),
              {m.name: Score(float(scores[i, j])) for j, m in enumerate(metrics) if not gone[i, j]})
        for i in range(n)
    ]  # fmt: skip
    return Trials(rows, metrics, DOMAINS)


def test_a_gap_in_the_best_run_does_not_unseat_it():
    trials = smooth_trials(24, noise=0.0)
    surrogate = fit(trials, target={"first": 1.0, "second": 1.0}, surrogates=RIDGE)
    best = int(surrogate.expected_utility(trials.ratios()).argmax())
    gaps = [
        replace(t, scores={n: s for n, s in t.scores.items() if i != best or n != "second"})
        for i, t in enumerate(trials)
    ]
    table = Trials(gaps, trials.metrics, trials.domains)
    again = fit(table, target={"first": 1.0, "second": 1.0}, surrogates=RIDGE)
    assert _best_seen(again, SearchSpace(DOMAINS)) == trials[best].ratios


def test_a_poor_cheapest_level_is_stepped_over(caplog):
    caplog.set_level("INFO", "mixopt")
    dear = smooth_trials(24, seed=1).labelled("large")
    cheap = smooth_trials(8, seed=2)
    cheap = Trials(
        [replace(t, ratios=cheap[0].ratios) for t in cheap], cheap.metrics, cheap.domains
    )
    both = cheap.labelled("small") + dear
    surrogate = fit(both, target="first", fidelities=("small", "large"), surrogates=RIDGE)
    assert [level.level for level in surrogate.fidelities] == ["large"]
    assert "all of one mixture" in caplog.text


def test_centers_of_a_large_table_are_told_once(caplog, monkeypatch):
    caplog.set_level("INFO", "mixopt")
    monkeypatch.setattr("mixopt.surrogates.gaussian_process.STEPS", 1)
    large, told = smooth_trials(258), "Gaussian processes use 256 of the 258 runs as centers; all"
    fit(large, target="first", surrogates=["gp_root", RIDGE])
    assert [told in record.getMessage() for record in caplog.records].count(True) == 1
    caplog.clear()
    fit(large, target="first", surrogates=RIDGE)  # no process
    fit(Trials(large[:256], large.metrics, large.domains), target="first", surrogates="gp_root")
    repeats = Trials(
        [replace(t, ratios=large[i % 64].ratios) for i, t in enumerate(large)], large.metrics,
        large.domains,
    )  # fmt: skip
    fit(repeats, target="first", surrogates="gp_root")
    assert "as centers" not in caplog.text


def test_names_of_surrogates_may_come_from_a_generator(sixteen):
    """They are read anew for each model of the noise."""
    found = fit(smooth_trials(16), surrogates=(name for name in [RIDGE]))
    assert list(found.model.models) == list(sixteen.model.models) == [RIDGE]
