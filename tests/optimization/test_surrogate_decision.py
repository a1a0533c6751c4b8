"""Decisions on tables whose truth is known; seeds are fixed, and none was left out."""

import re
from dataclasses import replace

import numpy as np
import pytest
from example_trials import DOMAINS, make_trials
from known_tables import rare, sparse, weak

import mixopt
from mixopt import Metric, Mixture, OutcomeConstraint, SearchSpace, Trials
from mixopt.optimization.surrogate_decision import calibrate_gains

CLEAR = [
    *(
        (f"sparse 24, seed {seed}", lambda seed=seed: sparse(24, 48, 0.2, seed))
        for seed in range(2)
    ),
    ("sparse 64", lambda: sparse(64, 96, 0.2, 0, m=1)),
    *((f"rare, seed {seed}", lambda seed=seed: rare(32, 0.3, seed)) for seed in range(3)),
]
NATURAL = Mixture({"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.7})


def decide(table, **options):
    surrogate = mixopt.fit(table.trials)
    return mixopt.propose(surrogate, table.space, seed=0, **options)[0]


@pytest.mark.slow
@pytest.mark.parametrize("make", [make for _, make in CLEAR], ids=[name for name, _ in CLEAR])
def test_a_clear_table_moves_and_really_gains(make):
    table = make()
    proposal = decide(table)
    assert proposal.decision.moves
    assert proposal.ratios == proposal.decision.candidate
    assert table.gain(proposal.ratios) > 0
    assert proposal.decision.gain.interval[0] < table.gain(proposal.ratios)


@pytest.mark.slow
def test_weak_tables_stay_with_natural():
    """With five times more noise than differences. A chance of .8 lets some of them move."""
    moved = 0
    for seed in range(8):
        table = weak(24, 5.0, seed)
        proposal = decide(table)
        moved += proposal.decision.moves
        if not proposal.decision.moves:
            assert proposal.ratios.vector(table.domains) == pytest.approx(table.natural)
            assert proposal.verdict.startswith(
                "stay with the natural mixture: the best other one is"
            )
            assert proposal.decision.advice
        assert table.gain(proposal.ratios) >= -2 * table.std_error
    assert moved <= 1


@pytest.mark.slow
@pytest.mark.parametrize("noise", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [weak, rare])
def test_between_clear_and_weak_no_decision_does_real_harm(kind, noise, seed):
    table = kind(24, noise, seed)
    assert table.gain(decide(table).ratios) >= -2 * table.std_error


def test_runs_of_nothing_but_noise_are_not_believed():
    table = weak(24, 50.0, 1)
    surrogate = mixopt.fit(table.trials)
    found = calibrate_gains(surrogate)
    assert found.slope < 2 * found.std_error
    clear = calibrate_gains(mixopt.fit(rare(32, 0.05, 0).trials))
    assert clear.slope > 0.8
    assert clear.std_error < 0.2


def test_few_runs_are_not_checked_by_runs_left_out():
    assert calibrate_gains(mixopt.fit(make_trials(8), surrogates="ridge_root")) is not None
    both = make_trials(40, fidelity="small", cost=1) + make_trials(4, fidelity="large", cost=9)
    assert calibrate_gains(mixopt.fit(both, surrogates="ridge_root")) is None


def test_the_decision_is_about_the_highest_fidelity_that_is_named():
    """Small runs like a, large runs like b."""
    small = make_trials(40, seed=0, fidelity="small")
    large = make_trials(16, seed=1, fidelity="large")
    swapped = [
        replace(t, ratios=Mixture({"a": t.ratios["b"], "b": t.ratios["a"],
                                   "c": t.ratios["c"], "d": t.ratios["d"]}))
        for t in large
    ]  # fmt: skip
    both = small + Trials(swapped, large.metrics, DOMAINS)
    space = SearchSpace(DOMAINS, prior=Mixture.uniform(DOMAINS))
    for order, likes in ((["small", "large"], "b"), (["large", "small"], "a")):
        surrogate = mixopt.fit(both, target="loss_a", fidelities=order)
        proposal = mixopt.propose(surrogate, space, seed=0)[0]
        decision = proposal.decision
        assert decision.level == order[-1]
        assert f" at {order[-1]}, 95% interval" in decision.verdict
        assert decision.runs == len(both.at(order[-1]))
        assert decision.basis == (
            f"{len(both.at(order[0]))} {order[0]} runs and {decision.runs} {order[1]} runs"
        )
        assert max(decision.candidate, key=decision.candidate.get) == likes


def test_without_natural_the_reference_is_the_run_of_highest_expectation():
    surrogate = mixopt.fit(make_trials(24), surrogates="ridge_root")
    proposal = mixopt.propose(surrogate, SearchSpace(DOMAINS), seed=0)[0]
    decision = proposal.decision
    best = surrogate.trials[int(surrogate.expected_utility(surrogate.trials.ratios()).argmax())]
    assert (decision.reference, decision.kept) == ("best seen", best.ratios)
    assert "the best seen mixture" in decision.verdict
    assert proposal.notes[0].startswith(
        f"No natural mixture was given: the reference is {best.id},"
    )


def test_a_reference_that_is_named_is_the_decision_s():
    surrogate = mixopt.fit(make_trials(24), surrogates="ridge_root")
    space = SearchSpace(DOMAINS, prior=NATURAL)
    decision = mixopt.propose(surrogate, space, seed=0, reference="uniform")[0].decision
    assert decision.reference == "uniform"
    assert decision.kept == Mixture.uniform(DOMAINS)


def test_a_trained_run_may_be_the_candidate_but_not_beyond_the_limits():
    trials = make_trials(24)
    surrogate = mixopt.fit(trials, surrogates="ridge_root")
    space = SearchSpace(DOMAINS, prior=NATURAL, upper={"a": 0.2})
    decision = mixopt.propose(surrogate, space, seed=0)[0].decision
    assert decision.candidate["a"] <= 0.2 + 1e-6


def test_limits_that_forbid_natural_keep_the_nearest_allowed():
    table = weak(24, 5.0, 0)
    first = float(table.natural[0])
    space = SearchSpace(table.domains, prior=table.natural, lower={"d0": first + 0.05})
    proposal = mixopt.propose(mixopt.fit(table.trials), space, seed=0)[0]
    assert not proposal.decision.moves
    assert proposal.ratios["d0"] == pytest.approx(first + 0.05, abs=1e-6)
    assert np.abs(proposal.ratios.vector(table.domains) - table.natural).max() < 0.06


def test_a_limit_that_costs_something_is_no_reason_to_stay():
    """Utility a + .3 c and at most 40% of a: natural is the best, and (.4, 0, .6) beats (.4, .3, .3)."""
    rng = np.random.default_rng(0)
    ratios = rng.dirichlet(np.ones(3), size=40)
    scores = (ratios @ [1.0, 0.0, 0.3])[:, None] + 0.005 * rng.standard_normal((40, 1))
    trials = Trials.from_arrays(
        ratios, scores, domains=["a", "b", "c"], metrics=[Metric("acc", "higher")]
    )
    natural = {"a": 0.8, "b": 0.1, "c": 0.1}
    space = SearchSpace(["a", "b", "c"], prior=natural, upper={"a": 0.4})
    decision = mixopt.propose(mixopt.fit(trials), space, seed=0)[0].decision
    assert decision.moves
    assert decision.reference == "nearest allowed"
    assert decision.gain.mean > 0
    assert decision.candidate["c"] > 0.4


def test_what_it_would_take_to_tell_follows_from_the_noise_of_repeats():
    table = weak(24, 1.0, 0)
    once = mixopt.propose(mixopt.fit(table.trials), table.space, seed=0)[0].decision
    assert not once.moves
    assert "at most about" in once.advice
    assert "no mixture was run twice" in once.advice
    rng = np.random.default_rng(5)
    again = table.truth(table.ratios) + table.sd * rng.normal(size=table.scores.shape)
    both = Trials.from_arrays(
        np.vstack([table.ratios, table.ratios[:6]]), np.vstack([table.scores, again[:6]]),
        domains=table.domains, metrics=table.trials.metrics,
    )  # fmt: skip
    surrogate = mixopt.fit(both)
    decision = mixopt.propose(surrogate, table.space, seed=0)[0].decision
    assert not decision.moves
    each = "each of it and of the natural mixture are needed to decide"
    pattern = (
        rf"If the gain is \+(\S+), about (\d+) new runs? {each} "
        r"\(a run's noise is (\S+), by repeats\)\."
    )
    said = re.fullmatch(pattern, decision.advice)
    gain, runs, noise = float(said[1]), int(said[2]), float(said[3])
    # so many runs, together with what is known, make the chance four fifths
    sds = [(1 / decision.gain.std_error**2 + k / (2 * noise**2)) ** -0.5 for k in (runs, runs - 1)]
    assert gain / sds[0] > 0.84 * 0.99
    assert gain / sds[1] < 0.845
    assert noise == pytest.approx(table.std_error / np.sqrt(2 / 3), rel=0.5)


def test_natural_that_breaks_an_outcome_constraint_is_not_recommended_in_silence():
    surrogate = mixopt.fit(make_trials(30, noise=0.3), surrogates="ridge_root")
    one = Mixture({"a": 0.7, "b": 0.1, "c": 0.1, "d": 0.1})
    guard = OutcomeConstraint(one, tolerance=0.3, probability=0.5, metrics=("loss_a",))
    space = SearchSpace(DOMAINS, prior={"a": 0.01, "b": 0.5, "c": 0.48, "d": 0.01})
    decision = mixopt.propose(surrogate, space, seed=0, outcome_constraint=guard)[0].decision
    broken = "does not meet the outcome constraint itself"
    assert decision.moves or broken in decision.advice
    assert guard.met(surrogate, decision.candidate.vector(DOMAINS)[None]).all()


def test_merges_and_weights_of_experts_decide_nothing():
    space = SearchSpace(DOMAINS, prior=NATURAL)
    merged = mixopt.fit(make_trials(24, kind="merged"), surrogates="ridge_root")
    assert mixopt.propose(merged, space, seed=0)[0].decision is None
    trained = mixopt.fit(make_trials(24), surrogates="ridge_root")
    experts = {name: {name: 1.0} for name in DOMAINS}
    proposal = mixopt.propose(trained, space, seed=0, compositions=experts)[0]
    assert proposal.decision is None
    assert proposal.verdict.startswith("better than the natural mixture")


@pytest.mark.parametrize("settings", [{}, {"scales": {"loss_a": 3.0}}, {"normalise": "rank"}])
def test_capabilities_and_benchmarks_have_the_calibration_of_the_gain(settings):
    surrogate = mixopt.fit(make_trials(30, noise=0.4, seed=2), surrogates="ridge_root", **settings)
    found = calibrate_gains(surrogate)
    assert 0 < found.slope < 0.9
    decision = mixopt.propose(surrogate, SearchSpace(DOMAINS, prior=NATURAL), seed=0)[0].decision
    # both capabilities have half of the weight
    halves = [estimate.mean / 2 for estimate in decision.capabilities.values()]
    assert sum(halves) == pytest.approx(decision.gain.mean)
    best, there = (m.vector(DOMAINS) for m in (decision.candidate, decision.kept))
    mean, std = surrogate.differences(best[None], there)
    for place, metric in enumerate(surrogate.trials.metrics):
        said = decision.differences[metric.name]
        assert said.mean == pytest.approx(found.slope * mean[0, place])
        assert said.std_error == pytest.approx(
            np.hypot(std[0, place], found.std_error * mean[0, place])
        )


@pytest.mark.parametrize(("settings", "unit"), [
    ({}, "sd of a benchmark"), ({"target": "loss_a"}, "sd of a benchmark"),
    ({"target": "average"}, "of utility"), ({"normalise": "rank"}, "of utility"),
    ({"normalise": "raw", "target": "worst"}, "of utility"),
])  # fmt: skip
def test_the_unit_of_a_gain_is_that_of_the_target(settings, unit):
    trials = make_trials(30, seed=2)
    losses = trials.metrics[:2]
    trials = Trials([replace(t, scores={m.name: t.scores[m.name] for m in losses}) for t in trials],
                    losses, DOMAINS)  # fmt: skip
    surrogate = mixopt.fit(trials, surrogates="ridge_root", **settings)
    decision = mixopt.propose(surrogate, SearchSpace(DOMAINS, prior=NATURAL), seed=0)[0].decision
    assert decision.unit == unit
    assert f"{decision.gain.mean:+.3f} {unit}, 95% interval" in decision.verdict
