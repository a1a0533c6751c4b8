import numpy as np
import pandas as pd
import pytest

from mixopt import Metric, Trials, fit
from mixopt.errors import ArgumentTypeError, TrialsError, UserError


@pytest.fixture(scope="module")
def trials():
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(3), size=16)
    metrics = [Metric("first", "lower", "one"), Metric("second", "lower", "two")]
    return Trials.from_arrays(
        ratios, np.sqrt(ratios[:, :2]), domains=("a", "b", "c"), metrics=metrics
    )


def test_settings_with_another_name_or_number_are_refused(trials):
    for settings, words in (
        ({"trust": {"frst": 0}}, "trust names 'frst', which is no metric of these trials"),
        ({"scales": {"frst": 5}}, "scales names 'frst', which is no metric"),
        ({"scales": {"first": 0}}, "scales of 'first' is 0; give the difference that counts as 1"),
        ({"scales": {"first": -1}}, "scales of 'first' is -1; give a number that is not negative"),
        ({"trust": {"first": -0.5}}, "trust of 'first' is -0.5; give a number that is not"),
        ({"trust": {"first": float("inf")}}, "trust of 'first' is inf; give a finite number"),
        ({"trust": {"first": "1"}}, "trust of 'first' is '1'; give a number"),
        ({"trust": 0.5}, "trust is a float; give a number by name"),
        ({"capability_weights": {"one": -1}}, "capability_weights of 'one' is -1; give a number"),
        ({"capability_weights": {"one": float("nan")}}, "capability_weights of 'one' is nan"),
        ({"normalise": "zscore"}, "normalise='zscore' is unknown"),
    ):
        with pytest.raises(UserError, match=words):
            fit(trials, **settings)


def test_settings_that_the_target_does_not_use_are_refused(trials):
    for settings in ({"trust": {"first": 0.5}}, {"scales": {"first": 2.0}}, {"normalise": "rank"}):
        for target in ("first", "average", {"first": 1.0}):
            with pytest.raises(TrialsError, match="they apply to 'utility' and 'worst' alone"):
                fit(trials, target=target, **settings)


def test_targets_of_another_type_are_refused_and_a_series_is_read(trials):
    for target in (["first", "second"], Metric("first"), None, 1):
        with pytest.raises(
            ArgumentTypeError, match=f"target is a {type(target).__name__}; give utility"
        ):
            fit(trials, target=target)
    with pytest.raises(
        ArgumentTypeError, match="The weight of metric 'first' is '1'; give a number"
    ):
        fit(trials, target={"first": "1"})
    series = fit(trials, target=pd.Series({"first": 1.0}), surrogates="ridge_root")
    plain = fit(trials, target={"first": 1.0}, surrogates="ridge_root")
    assert series.cv_utilities.tolist() == plain.cv_utilities.tolist()


def test_fidelities_are_a_list_of_names(trials):
    with pytest.raises(ArgumentTypeError, match=r"fidelities is 'trained'; give \['trained'\]"):
        fit(trials, fidelities="trained")
    with pytest.raises(ArgumentTypeError, match="fidelities is a int; give a list of names"):
        fit(trials, fidelities=1)
