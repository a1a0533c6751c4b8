import numpy as np
import pytest
from example_trials import DOMAINS, make_trials
from known_tables import rare

import mixopt
from mixopt import Inequality, Mixture, SearchSpace, Trials, fit
from mixopt.mixture import hellinger
from mixopt.optimization.support import (
    MARGIN,
    RunCover,
    find_support,
    note_extrapolation,
    restrict_to_runs,
)
from mixopt.optimization.weight_space import WeightSpace


def cover_of(rows, domains=DOMAINS):
    return RunCover(tuple(domains), np.array(rows, dtype=float))


@pytest.fixture(scope="module")
def surrogate():
    return fit(make_trials(40), surrogates="ridge_root")


@pytest.fixture(scope="module")
def cover(surrogate):
    return RunCover.of(surrogate)


def test_nearest_run_of_a_run_is_itself(surrogate):
    trial = surrogate.trials[7]
    support = find_support(surrogate, trial.ratios)
    assert (support.nearest, support.distance) == ("t7", pytest.approx(0, abs=1e-6))
    assert not support.extrapolates
    assert note_extrapolation(surrogate, {"proposal": trial.ratios, "natural": None}) == ()


def test_one_outlier_does_not_make_every_distance_usual():
    rng = np.random.default_rng(0)
    near = rng.dirichlet(np.full(4, 50.0), 40)
    alone = np.array([[0.0, 0.0, 0.0, 1.0]])
    usual = cover_of(np.vstack([near, alone])).usual
    assert usual == pytest.approx(cover_of(near).usual, rel=0.2)
    assert hellinger(alone, near).min() > 5 * usual


def test_repeats_do_not_make_distances_zero():
    trials = make_trials(20)
    twice = Trials(
        [*trials, *make_trials(20, noise=0.1, fidelity="other")], trials.metrics, DOMAINS
    )
    once = RunCover.of(fit(trials, surrogates="ridge_root"))
    both = RunCover.of(fit(twice, fidelities=["other", "trained"], surrogates="ridge_root"))
    assert both.usual == once.usual > 0


def test_range_of_each_domain_has_a_margin_and_stops_at_zero(cover):
    low, high = cover.range()
    width = cover.high - cover.low
    assert high == pytest.approx(np.minimum(cover.high + MARGIN * width, 1.0))
    assert low == pytest.approx(np.maximum(cover.low - MARGIN * width, 0.0))
    assert not cover.held.any()


def test_what_hardly_varied_is_held_and_what_was_zero_stays_zero():
    rows = [[0.5, 0.4999, 0.0001, 0], [0.2, 0.799, 0.001, 0], [0.7, 0.2997, 0.0003, 0]]
    cover = cover_of(rows)
    assert cover.held.tolist() == [False, False, True, True]
    low, high = cover.range()
    assert (low[2:].tolist(), high[2:].tolist()) == ([0.0003, 0.0], [0.0003, 0.0])
    # natural's own share, if runs had such a share
    low, _ = cover.range(Mixture({"a": 0.3, "b": 0.6992, "c": 0.0008}))
    assert low[2] == 0.0008
    low, _ = cover.range(Mixture({"a": 0.3, "b": 0.6, "c": 0.1}))
    assert low[2] == 0.0003


def test_a_design_around_one_mixture_holds_nothing():
    rng = np.random.default_rng(0)
    rows = np.array([0.4, 0.3, 0.2, 0.1]) * np.exp(0.03 * rng.normal(size=(20, 4)))
    assert not cover_of(rows / rows.sum(axis=1, keepdims=True)).held.any()


def test_every_restricted_draw_is_near_a_run_and_in_the_ranges(cover):
    space, notes = restrict_to_runs(SearchSpace(DOMAINS), cover)
    assert notes == ()
    weights = WeightSpace.of_domains(space)
    rng = np.random.default_rng(0)
    low, high = cover.range()
    for drawn in (
        weights.sample(200, rng),
        weights.sample_uniform(200, rng),
        weights.pull(np.eye(4)),
    ):
        assert (hellinger(drawn, cover.mixtures).min(axis=1) <= cover.usual + 1e-5).all()
        assert (drawn >= low - 1e-7).all()
        assert (drawn <= high + 1e-7).all()


def test_runs_themselves_are_inside(cover):
    space, _ = restrict_to_runs(SearchSpace(DOMAINS), cover)
    assert space.contains(cover.mixtures).all()


def test_order_of_the_domains_does_not_matter(cover):
    space, _ = restrict_to_runs(SearchSpace(DOMAINS[::-1]), cover)
    low, high = cover.range()
    assert space.bounds()[0] == pytest.approx(low[::-1])
    assert space.bounds()[1] == pytest.approx(high[::-1])
    assert space.contains(cover.mixtures[:, ::-1]).all()


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"lower": {"d3": 0.1}}, "d3 at 10.00%"),
        ({"frozen": {"d3": 0.2}}, "d3 at 20.00%"),
        ({"upper": {"d0": 0.01}}, "d0 at 1.00%"),
        ({"inequalities": (Inequality({"d3": -1.0}, -0.05),)}, "d3 at 5.00%"),
    ],
)
def test_limits_outside_of_what_the_runs_cover_hold_and_are_said(limits, named):
    table = rare(24, 0.3, 0)
    surrogate = fit(table.trials, surrogates="ridge_root")
    space = SearchSpace(table.domains, prior=table.natural, **limits)
    proposal = mixopt.propose(surrogate, space, seed=0)[0]
    assert any(f"The limits put {named}" in note for note in proposal.notes)
    for mixture in (proposal.ratios, proposal.decision.candidate):
        assert space.contains(mixture.vector(table.domains), tolerance=1e-6).all()


def test_limits_that_exclude_the_runs_by_divergence_hold_and_are_said(cover):
    far = SearchSpace(DOMAINS, prior={"a": 0, "b": 0, "c": 0, "d": 1}, max_kl=0.01)
    narrow = cover_of([[0.5, 0.3, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1], [0.3, 0.4, 0.2, 0.1]])
    space, notes = restrict_to_runs(far, narrow)
    assert space.contains(far.prior_vector()).all()
    assert any("extrapolations" in note for note in notes)


def test_the_note_names_what_leads_out():
    table = rare(24, 0.3, 0)
    surrogate = fit(table.trials, surrogates="ridge_root")
    natural = Mixture.from_vector(table.domains, [0.5, 0.2, 0.25, 0.05])
    (note,) = note_extrapolation(surrogate, {"natural": natural})
    assert note.startswith("The natural mixture lies further")
    assert "in d3 5.00% (trials 0.0" in note
    assert "d1" not in note
    # a combination that no run is near, with every ratio in its range
    corners = np.repeat(0.7 * np.eye(3) + 0.1, 4, axis=0)
    rng = np.random.default_rng(0)
    runs = np.stack([rng.dirichlet(2000 * corner) for corner in corners])
    losses = runs[:, :1] + 0.1 * runs[:, 1:2] ** 2
    trials = Trials.from_arrays(runs, losses, domains=list("abc"), metrics={"x": "lower"})
    fitted = fit(trials, surrogates="ridge_root")
    (note,) = note_extrapolation(fitted, {"natural": Mixture.uniform("abc")})
    assert "a combination that no trial is near" in note
