import math

import numpy as np
import pytest

from mixopt import Metric, Mixture
from mixopt.optimization.objective import Objective
from mixopt.pipeline.decide import FRESH
from mixopt.pipeline.gains import Observation
from mixopt.pipeline.trained_runs import list_trained_runs
from mixopt.surrogates.gain_model import GainPrior

DOMAINS = ("a", "b")
NATURAL = Mixture({"a": 0.5, "b": 0.5})
METRICS = (Metric("loss"), Metric("acc", "higher"))
OTHER = np.array([0.9, 0.1])


def observe(ratios, seed, tokens, *scores):
    return Observation(np.array(ratios, float), seed, tokens, np.array(scores, float))


def gains_of(observations, objective="usual"):
    if objective == "usual":
        objective = Objective(METRICS, np.array([0.5, 0.1]), np.ones(2), {})
    return list_trained_runs(observations, METRICS, NATURAL, DOMAINS, objective, 100)


def test_a_gain_is_over_the_natural_run_of_the_same_seed_and_length():
    natural, run, longer = gains_of([
        observe([0.5, 0.5], 0, 100, 2.0, 0.5), observe(OTHER, 0, 100, 1.5, 0.6),
        observe(OTHER, 0, 200, 1.0, 0.9),
    ])  # fmt: skip
    assert math.isnan(natural.gain)
    # one spread better in both, which weigh the same
    assert run.gain == pytest.approx(1 / GainPrior().scale)
    assert math.isnan(longer.gain)  # no natural run is as long
    assert dict(run.ratios) == pytest.approx({"a": 0.9, "b": 0.1})


@pytest.mark.parametrize("unit", ["z", "raw"])
def test_gains_that_grow_as_expected_are_the_same_at_each_length(unit):
    metrics = (Metric("loss"),)
    objective = Objective(metrics, np.array([0.5]), np.ones(1), {}, unit=unit)
    lengths = (100, 200, 800)
    growth = [GainPrior().growth_to(tokens / 100) for tokens in lengths]
    observations = [
        observe(ratios, 0, tokens, 3.0 - gain * 0.5 * grown)
        for tokens, grown in zip(lengths, growth, strict=True)
        for ratios, gain in (([0.5, 0.5], 0.0), (OTHER, 0.7))
    ]
    runs = list_trained_runs(observations, metrics, NATURAL, DOMAINS, objective, 100)
    native = [0.7 * 0.5 * grown for grown in growth]
    expected = [0.7] * 3 if unit == "z" else native  # raw gains are stated as they are
    assert [run.gain for run in runs[1::2]] == pytest.approx(expected)


def test_what_failed_and_what_no_choice_has_seen_are_marked():
    natural, failed = gains_of([
        observe([0.5, 0.5], FRESH, 100, 2.0, 0.5), observe(OTHER, FRESH, 100, np.nan, np.nan)
    ])  # fmt: skip
    assert failed.failed
    assert not natural.failed
    assert failed.unseen
    assert math.isnan(failed.gain)


def test_without_a_unit_there_are_no_gains():
    pair = [observe([0.5, 0.5], 0, 100, 2.0, 0.5), observe(OTHER, 0, 100, 1.5, 0.6)]
    assert all(math.isnan(run.gain) for run in gains_of(pair, None))
    other = Objective((Metric("third"),), np.ones(1), np.ones(1), {})
    assert all(math.isnan(run.gain) for run in gains_of(pair, other))
    none = Objective((), np.zeros(0), np.zeros(0), {})
    assert all(math.isnan(run.gain) for run in gains_of(pair, none))
