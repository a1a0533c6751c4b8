from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_trials import DOMAINS, make_trials, true_scores

from mixopt import Mixture, Trials, fit
from mixopt.errors import MixtureError
from mixopt.surrogates.effective_tokens import Repetition


@pytest.fixture(scope="module")
def surrogate():
    return fit(make_trials(40))


def test_predictions_are_in_the_metrics_own_units(surrogate):
    fresh = np.random.default_rng(5).dirichlet(np.ones(4), 200)
    mean, std = surrogate.predict(fresh)
    truth = true_scores(fresh)
    for metric in range(3):
        assert np.corrcoef(mean[:, metric], truth[:, metric])[0, 1] > 0.95
    assert (np.abs(mean - truth) < 1.96 * std).mean() > 0.9


def test_slopes_of_the_utility(surrogate):
    point, step = np.array([[0.3, 0.3, 0.2, 0.2]]), 1e-6
    value, slopes = surrogate.smooth_utility(point)

    def along(unit):
        ends = [surrogate.smooth_utility(point + s * step * unit)[0][0] for s in (1, -1)]
        return (ends[0] - ends[1]) / (2 * step)

    numeric = [along(unit) for unit in np.eye(4)]
    assert slopes[0] == pytest.approx(numeric, rel=1e-4)
    by_metric = surrogate.metric_gradients(point[0])
    assert surrogate.utility.coefficients @ by_metric == pytest.approx(slopes[0], rel=1e-6)
    assert np.isfinite(value).all()


def test_a_difference_from_itself_is_nothing(surrogate):
    mix = Mixture({"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25})
    assert surrogate.estimate_gain(mix, mix).mean == pytest.approx(0, abs=1e-9)
    other = Mixture({"a": 0.4, "b": 0.3, "c": 0.3, "d": 0.0})
    there, back = surrogate.estimate_gain(mix, other), surrogate.estimate_gain(other, mix)
    assert there.mean == pytest.approx(-back.mean)
    ends = [surrogate.estimate_utility(m).std_error for m in (mix, other)]
    assert there.std_error < np.hypot(*ends)  # what both share is no doubt about their difference


def test_expected_utility_is_the_mean_of_the_prediction(surrogate):
    fresh = np.random.default_rng(5).dirichlet(np.ones(4), 20)
    assert surrogate.expected_utility(fresh) == pytest.approx(surrogate.predict_utility(fresh)[0])


def test_estimates_have_both_intervals(surrogate):
    estimate = surrogate.estimate(Mixture.uniform(DOMAINS))["loss_a"]
    low80, high80 = estimate.interval80
    low95, high95 = estimate.interval
    assert low95 < low80 < estimate.mean < high80 < high95


def test_repetition_makes_a_scarce_domain_worth_less(surrogate):
    term = Repetition.of(DOMAINS, {"a": 1e8}, budget_tokens=1e10)
    repeated = surrogate.with_repetition(term)
    scarce, plenty = np.array([[0.9, 0.0, 0.1, 0.0]]), np.array([[0.0, 0.0, 1.0, 0.0]])
    assert repeated.predict(scarce)[0][0, 0] > surrogate.predict(scarce)[0][0, 0]
    assert repeated.predict(plenty)[0] == pytest.approx(surrogate.predict(plenty)[0])


def test_slopes_through_repetition(surrogate):
    repeated = surrogate.with_repetition(Repetition.of(DOMAINS, {"a": 1e9}, budget_tokens=1e10))
    point, step = np.array([[0.4, 0.2, 0.2, 0.2]]), 1e-6
    slopes = repeated.smooth_utility(point)[1][0]

    def along(direction):
        ends = [repeated.smooth_utility(point + s * step * direction)[0][0] for s in (1, -1)]
        return (ends[0] - ends[1]) / (2 * step)

    for direction in (np.array([1, -1, 0, 0.0]), np.array([0, 1, -1, 0.0])):
        assert slopes @ direction == pytest.approx(along(direction), rel=1e-3)


def test_repr_names_trials_models_and_rank(surrogate):
    text = repr(surrogate)
    assert text.startswith("Surrogate(40 trained trials, 4 domains, 3 metrics; ")
    assert "mean CV rank 0." in text
    assert len(text) < 250
    assert "<td>loss_a</td>" in surrogate._repr_html_()


@pytest.mark.parametrize("settings", [{"normalise": "rank"}, {"target": "worst"}])
def test_the_error_of_a_gain_is_the_same_both_ways(settings):
    """Where the utility is no linear one, its gradient is that halfway."""
    fitted = fit(make_trials(30), surrogates="ridge_root", **settings)
    good, poor = (fitted.trials.ratios()[place] for place in (
        int(fitted.trial_utilities.argmax()), int(fitted.trial_utilities.argmin())))  # fmt: skip
    gain, std = fitted.utility_difference(good[None], poor)
    back, std_back = fitted.utility_difference(poor[None], good)
    assert gain == pytest.approx(-back)
    assert std == pytest.approx(std_back)
    _, errors = fitted.differences(good[None], poor)
    halfway = (fitted.predict(good[None])[0] + fitted.predict(poor[None])[0]) / 2
    factor = fitted.utility_critical_values.factor[0]
    assert std == pytest.approx(factor * fitted.utility.std(errors, halfway, fitted.correlation))


@pytest.mark.parametrize(
    "settings",
    [{}, {"trust": {"loss_a": 0.2}}, {"scales": {"loss_a": 3.0, "acc_c": 0.01}},
     {"normalise": "rank"}],
)  # fmt: skip
def test_gains_by_capability_are_in_the_unit_of_the_utility(settings):
    fitted = fit(make_trials(30), surrogates="ridge_root", **settings)
    ratios = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]])
    there = np.full(4, 0.25)
    parts = fitted.capability_differences(ratios, there)
    gain, _ = fitted.utility_difference(ratios, there)
    shares = {"one": 0.5, "two": 0.5}
    total = sum(shares[name] * mean for name, (mean, _) in parts.items())
    assert total == pytest.approx(gain)
    assert all((std > 0).all() for _, std in parts.values())


def test_gains_by_capability_of_a_plain_average_are_plain_averages():
    lower = make_trials(30)
    losses = Trials(
        [replace(t, scores={m: t.scores[m] for m in ("loss_a", "loss_b")}) for t in lower],
        [replace(m, capability=m.name) for m in lower.metrics[:2]], lower.domains,
    )  # fmt: skip
    fitted = fit(losses, target="average", surrogates="ridge_root")
    point, there = np.array([[0.7, 0.1, 0.1, 0.1]]), np.full(4, 0.25)
    parts = fitted.capability_differences(point, there)
    change, _ = fitted.differences(point, there)
    assert [float(mean[0]) for mean, _ in parts.values()] == pytest.approx(-change[0])


def test_mixtures_are_read_by_name(surrogate):
    rows = surrogate.trials.ratios()[:2]
    frame = pd.DataFrame(rows, columns=list(DOMAINS))[["d", "b", "a", "c"]]
    named = Mixture(dict(zip("dcba", rows[0][::-1].tolist(), strict=True)))
    reference = dict(zip(DOMAINS, rows[1].tolist(), strict=True))
    for method in (surrogate.predict, surrogate.predict_utility):
        wanted = method(rows)
        for given in (frame, rows.tolist()):
            for got, want in zip(method(given), wanted, strict=True):
                assert got.tolist() == want.tolist()
        assert method(named)[0] == pytest.approx(wanted[0][:1])
    assert surrogate.expected_utility(frame).tolist() == surrogate.expected_utility(rows).tolist()
    for method in (surrogate.differences, surrogate.utility_difference):
        assert method(frame, reference)[0] == pytest.approx(method(rows, rows[1])[0])
    gains = surrogate.capability_differences(frame, reference)
    wanted = surrogate.capability_differences(rows, rows[1])
    assert {name: gain[0] for name, gain in gains.items()} == {
        name: pytest.approx(gain[0]) for name, gain in wanted.items()
    }
    own = {name: float(ratio) for name, ratio in named.items()}
    assert surrogate.estimate(own) == surrogate.estimate(named)
    assert surrogate.estimate_utility(own) == surrogate.estimate_utility(named)
    assert surrogate.estimate_gain(own, reference) == surrogate.estimate_gain(
        named, Mixture(reference)
    )


def test_what_is_no_mixture_is_refused(surrogate):
    rows = surrogate.trials.ratios()[:2]
    calls = {
        "n x 4": [lambda: surrogate.expected_utility(rows[0]), lambda: surrogate.predict(rows[:, :3])],
        "sum to 100": [lambda: surrogate.predict(100 * rows), lambda: surrogate.predict_utility(
            (100 * rows).tolist())],
        r"shape \(1, 4\)": [lambda: surrogate.differences(rows, rows[:1]),
                            lambda: surrogate.utility_difference(rows, rows[:1])],
        "'e' is not one": [lambda: surrogate.estimate({"e": 1.0})],
    }  # fmt: skip
    for words, each in calls.items():
        for call in each:
            with pytest.raises(MixtureError, match=words):
                call()


def test_observed_utilities_of_a_table_with_other_order_are_the_same(surrogate):
    trials = surrogate.trials
    gaps = [
        replace(trial, scores={n: s for n, s in trial.scores.items() if place % 2 or n != "acc_c"})
        for place, trial in enumerate(trials)
    ]
    here = surrogate.observed_utilities(Trials(gaps, trials.metrics, trials.domains))
    there = surrogate.observed_utilities(Trials(gaps, trials.metrics, trials.domains[::-1]))
    assert there.tolist() == here.tolist()
