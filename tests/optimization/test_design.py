import numpy as np
import pytest
from surrogates.test_fit import smooth_trials

from mixopt import Group, SearchSpace, fit
from mixopt.errors import MixtureError, UserError
from mixopt.mixture import hellinger
from mixopt.optimization import design
from mixopt.optimization.design import (
    LENGTH,
    LINEAR,
    LOCAL,
    NOISE,
    OFFSET,
    choose_optimal,
    design_first_round,
    design_next_round,
    design_runs,
    perturb,
    spread,
)
from mixopt.optimization.weight_space import WeightSpace
from mixopt.surrogates.kernels import matern52, square_distances


@pytest.fixture
def space():
    prior = {"a": 0.6, "b": 0.3, "c": 0.1}
    return WeightSpace.of_domains(SearchSpace(("a", "b", "c"), upper={"a": 0.8}, prior=prior))


def test_first_round_has_natural_centroid_and_corners(space):
    rows = design_first_round(space, 12, np.random.default_rng(0))
    assert rows.shape == (12, 3)
    for wanted in ([0.6, 0.3, 0.1], [1 / 3] * 3, [1, 0, 0], [0, 1, 0], [0, 0, 1]):
        assert np.abs(rows - wanted).max(axis=1).min() < 1e-6
    assert space.space.contains(rows[5:]).all()  # all but the corners are feasible


def test_first_round_shorter_than_its_corners(space):
    rows = design_first_round(space, 2, np.random.default_rng(0))
    assert rows == pytest.approx(np.array([[0.6, 0.3, 0.1], [1 / 3] * 3]), abs=1e-6)


def test_corners_come_all_or_not_at_all():
    names = tuple("abcdefghij")
    space = WeightSpace.of_domains(SearchSpace(names))
    rows = design_first_round(space, 9, np.random.default_rng(0))
    assert rows.shape == (9, 10)
    assert (rows.max(axis=1) == 1).sum() == 0
    leaders = set(rows[2:].argmax(axis=1).tolist())
    assert leaders != set(range(7))  # the first names have no precedence


def test_natural_that_is_the_centroid_is_scored_once():
    space = WeightSpace.of_domains(SearchSpace(("a", "b")))
    rows = design_first_round(space, 6, np.random.default_rng(0))
    assert len(np.unique(rows.round(9), axis=0)) == 6


def test_next_round_is_new_feasible_and_better_than_chance(space):
    trials = smooth_trials(24)
    surrogate = fit(trials)
    seen = trials.ratios()
    rng = np.random.default_rng(0)
    rows = design_next_round(space, surrogate, seen, 6, rng)
    assert space.space.contains(rows).all()
    assert hellinger(rows, seen).min() > 0.02
    apart = hellinger(rows, rows) + np.eye(6)
    assert apart.min() > 0.02
    chance, _ = surrogate.predict_utility(space.sample(400, rng))
    chosen, _ = surrogate.predict_utility(rows)
    assert chosen[0] > np.quantile(chance, 0.95)


def test_same_seed_same_design(space):
    surrogate, seen = fit(smooth_trials(24)), smooth_trials(24).ratios()
    first = design_next_round(space, surrogate, seen, 4, np.random.default_rng(3))
    second = design_next_round(space, surrogate, seen, 4, np.random.default_rng(3))
    assert (first == second).all()


def test_spread_is_wider_than_random(space):
    rng = np.random.default_rng(0)
    start = space.ratios(space.sample(1, rng))
    far = spread(space, start, 6, rng)
    near = space.sample(6, rng)
    gaps = [(hellinger(rows, rows) + np.eye(6)).min() for rows in (far, near)]
    assert gaps[0] > gaps[1]


def test_what_is_spread_may_be_restricted(space):
    start = space.ratios(space.sample(1, np.random.default_rng(0)))

    def draw(n, allowed=None):
        return space.ratios(spread(space, start, n, np.random.default_rng(1), allowed))

    assert draw(6)[:, 0].max() > 0.5
    assert draw(6, lambda row: row[0] < 0.4)[:, 0].max() < 0.4
    assert np.array_equal(draw(6, lambda _: True), draw(6))
    assert len(draw(6, lambda _: False)) == 0


def test_perturbed_rows_stay_near_and_feasible(space):
    around = np.array([[0.2, 0.5, 0.3]])
    rows = perturb(space, around, 100, np.random.default_rng(0))
    assert space.space.contains(rows).all()
    assert np.abs(rows - around).max() <= 0.3 + 1e-9


@pytest.mark.parametrize("method", ["d-optimal", "maximin"])
def test_runs_are_feasible_new_and_the_same_for_a_seed(method):
    limits = SearchSpace(
        ("a", "b", "c"), upper={"a": 0.5}, groups={"g": Group(0.6, 0.9, ("b", "c"))}
    )
    first = design_runs(limits, 8, seed=0, method=method)
    again = design_runs(limits, 8, seed=0, method=method)
    rows = np.stack([mixture.vector(limits.domains) for mixture in first])
    assert limits.contains(rows, tolerance=1e-8).all()
    assert [dict(m) for m in first] == [dict(m) for m in again]
    assert len(np.unique(rows.round(3), axis=0)) == 8
    more = design_runs(limits, 4, seed=0, method=method, seen=first)
    others = np.stack([mixture.vector(limits.domains) for mixture in more])
    assert hellinger(others, rows).min() > 0.02


def test_sequential_needs_runs():
    with pytest.raises(MixtureError, match="needs runs with scores"):
        design_runs(SearchSpace(("a", "b")), 3, seed=0, method="sequential")


def kernel(pool):
    roots = np.sqrt(pool)
    centred = roots - roots.mean(axis=0)
    near = matern52(square_distances(roots, roots), LENGTH)
    return OFFSET + LINEAR * centred @ centred.T + LOCAL * near


def test_greedy_choice_is_that_of_the_posterior_variance():
    """Against the posterior written out: k(x,x) − k(x,S)(K + σ²I)⁻¹k(S,x) at every step."""
    pool = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 40)
    k = kernel(pool)
    chosen = []
    for _ in range(8):
        if chosen:
            gain = np.linalg.solve(
                k[np.ix_(chosen, chosen)] + NOISE * np.eye(len(chosen)), k[chosen]
            )
            variance = np.diag(k) - (k[:, chosen] * gain.T).sum(1)
        else:
            variance = np.diag(k).copy()
        variance[chosen] = -1
        chosen.append(int(variance.argmax()))
    assert choose_optimal(pool, 8).tolist() == chosen


def test_what_was_run_before_is_not_chosen_again():
    pool = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 40)
    first = choose_optimal(pool, 5)
    again = choose_optimal(pool, 5, seen=pool[first])
    assert not set(first.tolist()) & set(again.tolist())


def test_all_of_a_small_pool():
    pool = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    assert sorted(choose_optimal(pool, 9).tolist()) == [0, 1, 2, 3]


def test_a_design_tells_more_than_chance():
    """Mean posterior variance over the pool after 12 runs: below that of random choices."""
    pool = np.random.default_rng(0).dirichlet(np.full(6, 0.4), 200)
    k = kernel(pool)

    def left(rows):
        gain = np.linalg.solve(k[np.ix_(rows, rows)] + NOISE * np.eye(len(rows)), k[rows])
        return (np.diag(k) - (k[:, rows] * gain.T).sum(1)).mean()

    chance = [left(np.random.default_rng(s).permutation(200)[:12]) for s in range(20)]
    assert left(choose_optimal(pool, 12)) < np.quantile(chance, 0.1)
    assert left(choose_optimal(pool, 12)) == pytest.approx(left(choose_optimal(pool, 12)))


def test_designs_take_arrays_of_runs_and_any_seed():
    limits = SearchSpace(("a", "b", "c"))
    first = design_runs(limits, 4, seed=np.random.default_rng(2))
    assert [dict(m) for m in first] == [dict(m) for m in design_runs(limits, 4, seed=2)]
    rows = np.stack([mixture.vector(limits.domains) for mixture in first])
    by_array = design_runs(limits, 2, seed=3, seen=rows)
    assert [dict(m) for m in by_array] == [
        dict(m) for m in design_runs(limits, 2, seed=3, seen=first)
    ]
    assert len(design_runs(limits, 2)) == 2
    with pytest.raises(MixtureError, match="Did you mean 'maximin'"):
        design_runs(limits, 2, method="maximim")


def test_many_earlier_runs_stand_for_each_other(monkeypatch):
    """The choice is nearly as good as one by all of them, at a fraction of the memory."""
    rng = np.random.default_rng(0)
    pool = rng.dirichlet(np.ones(3), 300)
    # runs fill half of the space
    seen = rng.dirichlet(np.ones(3), 2000)
    seen = seen[seen[:, 0] > 0.4]
    steps = []

    def count(roots, centred, left, factor, step, place):
        steps.append(factor.shape[1])
        condition(roots, centred, left, factor, step, place)

    condition = design._condition
    monkeypatch.setattr(design, "_condition", count)
    monkeypatch.setattr(design, "MOST_SEEN", 50)
    chosen = choose_optimal(pool, 6, seen)
    assert max(steps) == 56
    assert (pool[chosen, 0] < 0.4).all()


def test_numbers_of_runs_are_whole_and_not_negative():
    space = SearchSpace(("a", "b", "c"))
    for n, words in ((-1, "n is -1; give a whole number of at least 0"), (2.5, "n is 2.5"),
                     ("8", "n is '8'")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            design_runs(space, n, seed=0)
    with pytest.raises(UserError, match="The seed is -1"):
        design_runs(space, 2, seed=-1)
    plain = design_runs(space, 3, seed=1)
    assert design_runs(space, np.int64(3), seed=np.int64(1)) == plain
    assert design_runs(space, 0, seed=1) == []


def test_sequential_designs_of_no_run_or_of_other_domains():
    trials = smooth_trials(16)
    surrogate = fit(trials, surrogates="ridge_root")
    settings = {"seed": 0, "method": "sequential", "surrogate": surrogate}
    seen = [trial.ratios for trial in trials]
    assert design_runs(SearchSpace(trials.domains), 0, seen=seen, **settings) == []
    for domains, words in ((("a", "b"), "The search space has no domain 'c'"),
                           (("a", "b", "c", "d"), "The surrogate has no domain 'd'")):  # fmt: skip
        with pytest.raises(MixtureError, match=words):
            design_runs(SearchSpace(domains), 2, seen=[{"a": 1.0}], **settings)
