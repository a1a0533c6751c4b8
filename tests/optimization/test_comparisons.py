import numpy as np
import pytest
from example_trials import DOMAINS, make_trials, true_scores

from mixopt import Estimate, Mixture, SearchSpace, Trial, Trials, fit
from mixopt.errors import TrialsError
from mixopt.optimization.comparisons import (
    _best_seen,
    compare,
    describe_fit,
    find_ties,
    predict_errors,
)
from mixopt.optimization.loss_to_error import LossToError

EVEN = Mixture.uniform(DOMAINS)


@pytest.fixture(scope="module")
def surrogate():
    return fit(make_trials(40))


def test_metrics_that_get_worse_are_named_with_their_probability(surrogate):
    greedy = Mixture({"a": 0.9, "b": 0.02, "c": 0.04, "d": 0.04})
    worse = compare(surrogate, greedy, {"natural": EVEN})[0].worse
    assert worse["loss_b"] > 0.95
    assert "loss_a" not in worse
    assert list(worse.values()) == sorted(worse.values(), reverse=True)


def test_ties_hold_what_is_no_worse_and_leave_out_what_is(surrogate):
    space = SearchSpace(DOMAINS)
    best = _best_seen(surrogate, space)
    near = best.vector(DOMAINS)
    bad = np.array([0.0, 0.0, 0.0, 1.0])
    ties = find_ties(surrogate, space, best, np.stack([near, bad]), near[None])
    assert ties.share == 0.5  # the mixture itself cannot be told from itself; others do not count
    assert ties.ranges["d"][1] < 0.9
    assert all(example["d"] < 0.9 for example in ties.examples)


def test_the_best_run_is_the_best_expected_one_and_no_lucky_one():
    """One mixture was run six times, once with luck."""
    trials = make_trials(30)
    scores = true_scores(EVEN.vector(DOMAINS)[None])[0]
    names = [metric.name for metric in trials.metrics]
    repeats = [Trial(f"r{i}", EVEN, dict(zip(names, scores, strict=True))) for i in range(5)]
    lucky = Trial("lucky", EVEN, dict(zip(names, scores + [-0.8, -0.8, 0.3], strict=True)))
    surrogate = fit(Trials([*trials, *repeats, lucky], trials.metrics, DOMAINS))
    assert (
        surrogate.trials[int(surrogate.observed_utilities(surrogate.trials).argmax())].id == "lucky"
    )
    assert _best_seen(surrogate, SearchSpace(DOMAINS)) != EVEN


def test_errors_of_benchmarks_follow_from_their_losses():
    errors = predict_errors(
        {"x": Estimate(3.0, 0.1), "y": Estimate(2.0, 0.1)}, {"x": LossToError(0.85, 2.0, 0.7)}
    )
    assert list(errors) == ["x"]
    assert 0 < errors["x"].mean < 0.85


def test_a_law_for_no_metric_is_named():
    with pytest.raises(TrialsError, match="names 'los_a'.*Did you mean 'loss_a'"):
        predict_errors({"loss_a": Estimate(3.0, 0.1)}, {"los_a": LossToError(0.85, 2.0, 0.7)})


def test_the_same_mixture_is_neither_better_nor_worse(surrogate):
    near = Mixture({"a": 0.25 + 1e-9, "b": 0.25 - 1e-9, "c": 0.25, "d": 0.25})
    found = compare(surrogate, near, {"natural": EVEN})[0]
    assert found.verdict == "the same as the natural mixture"
    assert (found.gain.chance, found.worse) == (0.5, {})


def test_the_fit_in_words(surrogate):
    told = describe_fit(surrogate)
    assert "3 metrics on 40 runs" in told[0]
    assert "%" in told[1]


def test_a_handful_of_dear_runs_in_words():
    both = make_trials(40, fidelity="small", cost=1.0) + make_trials(4, seed=1, fidelity="large",
                                                                     cost=50.0)  # fmt: skip
    told = describe_fit(fit(both))
    assert told[0] == "Fitted 3 metrics on 4 large runs; too few to be ranked by leaving some out."
    assert "With 40 small runs" in told[-1]
