import numpy as np
import pytest

from mixopt import Metric, Mixture, Score, Trial, Trials, fit
from mixopt.errors import HoldoutError, TrialsError

DOMAINS = ("a", "b", "c")


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


def test_constant_metric_is_constant_and_has_no_weight():
    surrogate = fit(smooth_trials(16))
    names = [fitted.metric.name for fitted in surrogate.metrics]
    assert surrogate.metrics[names.index("flat")].chosen == "constant"
    assert surrogate.utility.slopes[names.index("flat")] == 0


def test_holdout_scores_never_reach_a_surrogate():
    trials = smooth_trials(16)
    surrogate = fit(trials)
    assert "secret" not in [fitted.metric.name for fitted in surrogate.metrics]
    with pytest.raises(HoldoutError, match="'secret'"):
        fit(trials, target="secret")


def test_target_may_be_one_metric():
    surrogate = fit(smooth_trials(24), target="first")
    assert [fitted.metric.name for fitted in surrogate.metrics] == ["first"]
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
    surrogate = fit(trials)
    assert np.isnan(surrogate.metrics[0].cv_predictions[[0, 5]]).all()
    assert np.isfinite(surrogate.metrics[1].cv_predictions).all()


def test_choice_is_the_lowest_cross_validated_error():
    for fitted in fit(smooth_trials(32)).metrics:
        if fitted.cv_errors:
            assert fitted.cv_errors[fitted.chosen] == min(fitted.cv_errors.values())


def test_pure_noise_is_known_as_noise():
    rng = np.random.default_rng(0)
    base = smooth_trials(40)
    noisy = [
        Trial(t.id, t.ratios, {"first": Score(float(rng.normal()))}) for t in base
    ]  # fmt: skip
    fitted = fit(Trials(noisy, [Metric("first")], DOMAINS)).metrics[0]
    assert min(fitted.cv_errors.values()) > 0.6
    _, std = fitted.predict(base.ratios())
    assert std.mean() > 0.6  # the bars are about as wide as the noise


def test_same_seed_same_fit():
    first = fit(smooth_trials(20), seed=4).predict(np.array([[0.2, 0.3, 0.5]]))
    second = fit(smooth_trials(20), seed=4).predict(np.array([[0.2, 0.3, 0.5]]))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
