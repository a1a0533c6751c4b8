import numpy as np
import pandas as pd
import pytest
from example_trials import DOMAINS, make_trials

import mixopt
from mixopt import Mixture, SearchSpace, fit
from mixopt.errors import InfeasibleError, MixtureError, TrialsError, UserError
from mixopt.optimization.outcome_constraint import OutcomeConstraint

EVEN = Mixture.uniform(DOMAINS)


@pytest.fixture(scope="module")
def surrogate():
    return fit(make_trials(48), target="loss_a")


@pytest.fixture(scope="module")
def all_metrics():
    return fit(make_trials(48), target={"loss_a": 1.0})


def test_margins_by_hand(all_metrics):
    point = np.array([[0.4, 0.2, 0.2, 0.2]])
    mean, std = all_metrics.differences(point, EVEN.vector(DOMAINS))
    guard = OutcomeConstraint(
        EVEN, tolerance={"loss_b": 0.2}, probability=0.975, metrics=("loss_b", "acc_c")
    )
    margins = guard.margins(all_metrics, point)[0]
    scales = np.abs(all_metrics.standardization.scales)
    assert guard.metric_names(all_metrics) == ["loss_b", "acc_c"]
    assert margins[0] == pytest.approx((0.2 - mean[0, 1] - 1.96 * std[0, 1]) / scales[1], rel=1e-3)
    assert margins[1] == pytest.approx((0.0 + mean[0, 2] - 1.96 * std[0, 2]) / scales[2], rel=1e-3)


def test_slopes_of_the_margins(all_metrics):
    guard, point, step = (
        OutcomeConstraint(EVEN, probability=0.9),
        np.array([[0.4, 0.2, 0.2, 0.2]]),
        1e-6,
    )

    def margins(shift):
        return guard.expected(all_metrics, point + shift)[0]

    numeric = np.stack(
        [(margins(step * u) - margins(-step * u)) / (2 * step) for u in np.eye(4)], axis=1
    )
    assert guard.slopes(all_metrics, point[0]) == pytest.approx(numeric, rel=1e-3, abs=1e-5)


def test_without_a_guard_a_metric_pays_and_with_one_it_does_not(all_metrics):
    space = SearchSpace(DOMAINS)
    free = mixopt.propose(all_metrics, space, seed=0)[0]
    assert "loss_b" in {c.name: c for c in free.comparisons}["uniform"].worse
    guard = OutcomeConstraint(EVEN, tolerance=0.05, probability=0.9, name="natural")
    kept = mixopt.propose(all_metrics, space, seed=0, outcome_constraint=guard)[0]
    margins = guard.margins(all_metrics, kept.ratios.vector(DOMAINS)[None])
    assert (margins >= -1e-6).all()
    assert kept.ratios["a"] > EVEN["a"]  # what the guard leaves is still used
    assert kept.utility.mean < free.utility.mean


def test_a_guard_that_nothing_keeps(all_metrics):
    space = SearchSpace(DOMAINS, upper={"b": 0.05})
    guard = OutcomeConstraint(
        Mixture({"a": 0.1, "b": 0.7, "c": 0.1, "d": 0.1}), probability=0.99, name="given"
    )
    with pytest.raises(InfeasibleError, match="'loss_b' by .* standard deviations"):
        mixopt.propose(all_metrics, space, seed=0, outcome_constraint=guard)


def test_guards_that_mean_nothing(surrogate):
    with pytest.raises(MixtureError, match="between 0 and 1"):
        OutcomeConstraint(EVEN, probability=1.0)
    with pytest.raises(TrialsError, match="Did you mean 'loss_a'"):
        OutcomeConstraint(EVEN, metrics=("los_a",)).margins(surrogate, np.full((1, 4), 0.25))


def test_the_reference_is_given_in_any_form(all_metrics):
    point = np.array([[0.4, 0.2, 0.2, 0.2]])
    by_mixture = OutcomeConstraint(EVEN).margins(all_metrics, point)
    assert np.array_equal(OutcomeConstraint([0.25] * 4).margins(all_metrics, point), by_mixture)
    assert np.array_equal(OutcomeConstraint(dict(EVEN)).margins(all_metrics, point), by_mixture)


def test_arguments_of_another_type_are_refused():
    for settings, words in (
        ({"metrics": "acc_c"}, r"metrics is 'acc_c'; give \('acc_c',\)"),
        ({"tolerance": float("nan")}, "The tolerance of all metrics is nan; give a finite number"),
        ({"tolerance": {"acc_c": float("inf")}}, "The tolerance of acc_c is inf"),
        ({"tolerance": "0.1"}, "The tolerance of all metrics is '0.1'; give a number"),
        (
            {"probability": "0.9"},
            "The probability of an outcome constraint is '0.9'; give a number",
        ),
    ):
        with pytest.raises(UserError, match=words):
            OutcomeConstraint(EVEN, **settings)


def test_tolerances_may_be_a_series(all_metrics):
    point = np.array([[0.4, 0.2, 0.2, 0.2]])
    given = {"loss_a": 0.1, "loss_b": 0.2}
    wanted = OutcomeConstraint(EVEN, given).margins(all_metrics, point)
    assert np.array_equal(
        OutcomeConstraint(EVEN, pd.Series(given)).margins(all_metrics, point), wanted
    )
