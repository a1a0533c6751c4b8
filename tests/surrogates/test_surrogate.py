import numpy as np
import pytest
from example_trials import DOMAINS, make_trials, true_scores

from mixopt import Mixture, fit
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
