import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixopt import Group, Inequality, Mixture, SearchSpace
from mixopt.errors import InfeasibleError
from mixopt.mixture import hellinger
from mixopt.optimization.design import design_runs
from mixopt.optimization.weight_space import WeightSpace
from mixopt.search_limits import Neighborhood


def test_domains_as_experts_are_ratios():
    space = WeightSpace.of_domains(SearchSpace(("a", "b")))
    assert space.ratios(np.array([[0.3, 0.7]])).tolist() == [[0.3, 0.7]]


def test_anchored_experts_stand_for_mixtures():
    # DeMix, appendix A: with half general data, weights are not ratios
    rows = {"g": Mixture({"g": 1, "m": 0}), "m": Mixture({"g": 0.5, "m": 0.5})}
    space = WeightSpace.of_rows(SearchSpace(("g", "m")), rows)
    assert space.ratios(np.array([[0.2, 0.8]])).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.4)]
    ]


def test_weights_for_ratios_invert_the_composition():
    rows = {"g": Mixture({"g": 1, "m": 0}), "m": Mixture({"g": 0.5, "m": 0.5})}
    space = WeightSpace.of_rows(SearchSpace(("g", "m")), rows)
    weights, miss = space.weights_for(np.array([0.6, 0.4]))
    assert weights == pytest.approx([0.2, 0.8], abs=1e-6)
    assert miss < 1e-6
    _, miss = space.weights_for(np.array([0.1, 0.9]))  # no expert has more than half of m
    assert miss == pytest.approx(0.4, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10_000))
def test_samples_meet_every_bound(d, seed):
    rng = np.random.default_rng(seed)
    inside = rng.dirichlet(np.ones(d))
    names = tuple(f"d{i}" for i in range(d))
    lower = dict(zip(names, inside * rng.uniform(0, 1, d), strict=True))
    upper = dict(zip(names, np.minimum(1, inside + rng.uniform(0, 0.5, d)), strict=True))
    space = SearchSpace(names, lower=lower, upper=upper)
    samples = WeightSpace.of_domains(space).sample(200, rng)
    assert space.contains(samples, tolerance=1e-9).all()
    assert (samples >= 0).all()


def test_pull_leaves_what_is_feasible_where_it_is():
    space = WeightSpace.of_domains(SearchSpace(("a", "b"), upper={"a": 0.6}))
    pulled = space.pull(np.array([[0.5, 0.5], [1.0, 0.0]]))
    assert pulled[0] == pytest.approx([0.5, 0.5])
    assert pulled[1] == pytest.approx([0.6, 0.4])


def test_frozen_ratio_stays():
    space = WeightSpace.of_domains(SearchSpace(("a", "b", "c"), lower={"a": 0.3}, upper={"a": 0.3}))
    samples = space.sample(50, np.random.default_rng(0))
    assert np.allclose(samples[:, 0], 0.3)
    assert samples[:, 1].std() > 0.05


def test_one_tight_cap_does_not_pull_all_else_to_the_middle():
    """A scarce domain is a common thing; the others must still be explored to their corners."""
    names = ("scarce", "b", "c", "d")
    space = WeightSpace.of_domains(SearchSpace(names, upper={"scarce": 0.02}))
    samples = space.sample(2000, np.random.default_rng(0))
    free = WeightSpace.of_domains(SearchSpace(names)).sample(2000, np.random.default_rng(0))
    assert samples[:, 1].std() > 0.8 * free[:, 1].std()
    assert samples[:, 1].max() > 0.9
    assert samples[:, 0].max() <= 0.02


def test_bounds_that_the_experts_cannot_meet_are_named():
    rows = {"a": Mixture({"a": 0.5, "b": 0.5}), "b": Mixture({"a": 0, "b": 1})}
    space = WeightSpace.of_rows(SearchSpace(("a", "b"), lower={"a": 0.7}), rows)
    with pytest.raises(InfeasibleError, match=r"reach between 0 and 0.5 of 'a'"):
        _ = space.centre


def test_hellinger_is_a_distance_from_zero_to_one():
    points = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    distances = hellinger(points, points)
    assert distances[0, 1] == 1
    assert np.allclose(np.diag(distances), 0, atol=1e-7)


def test_a_prior_without_a_domain_keeps_it_out_of_what_is_near():
    prior = {"a": 0.5, "b": 0.5, "c": 0.0}
    space = WeightSpace.of_domains(SearchSpace(("a", "b", "c"), prior=prior, max_kl=0.3))
    samples = space.sample(100, np.random.default_rng(0))
    assert space.space.contains(samples, tolerance=1e-9).all()
    assert samples[:, 2].max() < 1e-9
    assert samples[:, 0].std() > 0.05


def test_no_mixture_is_as_near_as_asked():
    limits = SearchSpace(("a", "b"), prior={"a": 0.9, "b": 0.1}, upper={"a": 0.5}, max_kl=0.01)
    with pytest.raises(
        InfeasibleError, match="to the natural mixture as max_kl .* nearest has 0.51"
    ):
        _ = WeightSpace.of_domains(limits).centre


def test_groups_inequalities_and_distance_hold_for_every_sample():
    limits = SearchSpace(
        ("web:a", "web:b", "code", "math"),
        groups={"web": Group(0.3, 0.5)},
        inequalities=(Inequality({"code": 1, "math": -2}, 0.0),),
        prior={"web:a": 0.4, "web:b": 0.2, "code": 0.2, "math": 0.2},
        max_kl=0.4,
    )
    samples = WeightSpace.of_domains(limits).sample(500, np.random.default_rng(0))
    assert limits.contains(samples, tolerance=1e-8).all()
    assert samples.std(axis=0).min() > 0.02


def test_uniform_draws_have_the_moments_of_the_uniform_distribution():
    """On the simplex, and by hit-and-run in a small part of it, whose truth rejection tells."""
    rng = np.random.default_rng(0)
    free = WeightSpace.of_domains(SearchSpace(("a", "b", "c")))
    draws = free.sample_uniform(3000, rng)
    assert draws.mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.02)
    limits = SearchSpace(("a", "b", "c", "d"), lower={"a": 0.6, "b": 0.1}, upper={"c": 0.2})
    draws = WeightSpace.of_domains(limits).sample_uniform(2000, rng)
    assert limits.contains(draws, tolerance=1e-6).all()
    every = rng.dirichlet(np.ones(4), 400_000)
    truth = every[limits.contains(every)]
    assert len(truth) / len(every) < 1 / 8  # too rare to be drawn by rejection
    assert draws.mean(axis=0) == pytest.approx(truth.mean(axis=0), abs=0.01)
    assert draws.std(axis=0) == pytest.approx(truth.std(axis=0), abs=0.01)


def test_uniform_draws_reach_every_part_near_runs():
    runs = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    space = SearchSpace(("a", "b", "c"), near=Neighborhood(runs, 0.1))
    draws = WeightSpace.of_domains(space).sample_uniform(900, np.random.default_rng(0))
    apart = hellinger(draws, runs)
    assert (apart.min(axis=1) <= 0.1 + 1e-6).all()
    assert np.bincount(apart.argmin(axis=1), minlength=3).min() > 200


def test_a_single_mixture_is_drawn_again_and_again():
    space = SearchSpace(("a", "b"), frozen={"a": 0.3})
    draws = WeightSpace.of_domains(space).sample_uniform(10, np.random.default_rng(0))
    assert draws == pytest.approx(np.tile([0.3, 0.7], (10, 1)))


def test_limits_far_from_every_run_are_told():
    near = Neighborhood(np.array([[0.9, 0.1]]), 0.05)
    space = SearchSpace(("a", "b"), upper={"a": 0.2}, near=near)
    with pytest.raises(InfeasibleError, match="No mixture within the limits is nearer than 0"):
        WeightSpace.of_domains(space).sample(4, np.random.default_rng(0))


CLOSED = ("web:a", "web:b", "books", "code", "math")


@pytest.mark.parametrize(
    "limits",
    [
        {"frozen": {"web": 0}},
        {"upper": {"web": 0}},
        {"groups": {"text": Group(0, 0, ("web",))}},
        {"inequalities": (Inequality({"web:a": 1, "web:b": 2}, 0.0),)},
        # once web:a is closed, its coefficient frees nothing
        {"upper": {"web:a": 0}, "inequalities": (Inequality({"web:a": -1, "web:b": 1}, 0.0),)},
    ],
)
def test_a_sum_held_at_zero_closes_its_domains_and_no_others(limits):
    space = SearchSpace(CLOSED, prior=np.array([0.3, 0.3, 0.2, 0.1, 0.1]), **limits)
    assert space.bounds()[1].tolist() == [0, 0, 1, 1, 1]
    weights, rng = WeightSpace.of_domains(space), np.random.default_rng(0)
    assert weights.centre == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3])
    for draws in (weights.sample(500, rng), weights.sample_uniform(500, rng)):
        assert space.contains(draws).all()
        assert draws[:, 2:].std(axis=0).min() > 0.1
    runs = np.stack([run.vector(CLOSED) for run in design_runs(space, 5, seed=0)])
    assert len(np.unique(runs.round(3), axis=0)) == 5


@pytest.mark.parametrize(("limits", "plain"), [
    ({"lower": {"web": 1.0}}, {"upper": {"books": 0, "code": 0, "math": 0}}),
    ({"frozen": {"web": 0.7, "code": 0.3}},
     {"frozen": {"web": 0.7, "code": 0.3}, "upper": {"books": 0, "math": 0}}),
    ({"lower": {"web": 0.7, "code": 0.3}},
     {"frozen": {"web": 0.7, "code": 0.3}, "upper": {"books": 0, "math": 0}}),
    ({"lower": {"web:a": 0.2, "code": 0.8}}, {"frozen": {"web:a": 0.2, "code": 0.8}}),
])  # fmt: skip
def test_what_limits_imply_is_as_if_it_were_stated(limits, plain):
    implied, stated = (
        WeightSpace.of_domains(SearchSpace(CLOSED, **given)) for given in (limits, plain)
    )
    assert implied._closed.tolist() == stated._closed.tolist()
    for draw in ("sample", "sample_uniform"):
        here, there = (
            getattr(space, draw)(2000, np.random.default_rng(0)) for space in (implied, stated)
        )
        assert implied.space.contains(here).all()
        assert here.std(axis=0) == pytest.approx(there.std(axis=0), abs=0.02)


def test_experts_with_tokens_of_a_closed_group_have_no_weight():
    rows = {"x": Mixture({"web:a": 0.5, "code": 0.5}), "y": Mixture({"web:b": 0.2, "math": 0.8}),
            "code": Mixture({"code": 1}), "math": Mixture({"math": 1})}  # fmt: skip
    rows = {name: Mixture.from_vector(CLOSED, row.vector(CLOSED)) for name, row in rows.items()}
    space = SearchSpace(CLOSED, upper={"web": 0}, prior={"code": 0.5, "math": 0.5})
    weights = WeightSpace.of_rows(space, rows)
    draws = weights.sample(300, np.random.default_rng(0))
    assert draws[:, :2].max() < 1e-12
    assert draws[:, 2:].std(axis=0).min() > 0.1


def test_a_domain_that_must_have_more_than_its_group_is_a_conflict():
    with pytest.raises(InfeasibleError, match="the group web = 0; web:a >= 0.1 together"):
        SearchSpace(CLOSED, lower={"web:a": 0.1}, upper={"web": 0})
