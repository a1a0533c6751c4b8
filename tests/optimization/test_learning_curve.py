from dataclasses import replace

import numpy as np
import pytest
from example_trials import make_trials

from mixopt import Trials
from mixopt.errors import TrialsError, UserError
from mixopt.optimization.learning_curve import _extrapolate, _split_mixtures, advise


def test_powers_are_carried_on():
    sizes = np.array([10, 10, 20, 20, 40, 40])
    middle, low, high = _extrapolate(
        sizes, 3.0 / sizes, np.array([80, 160]), np.random.default_rng(0)
    )
    assert middle == pytest.approx([3 / 80, 3 / 160])
    assert (low <= middle + 1e-12).all()
    assert (high >= middle - 1e-12).all()


def test_more_runs_never_tell_less():
    sizes = np.array([10, 10, 20, 20])
    middle, _, _ = _extrapolate(sizes, sizes / 10.0, np.array([40]), np.random.default_rng(0))
    assert middle[0] == pytest.approx(np.exp(np.log(sizes / 10).mean()))


def test_what_more_runs_would_buy_is_about_what_they_buy():
    """The error expected of 24 + 32 runs, against the error with 56 of the same kind."""
    rows = advise(
        make_trials(24, noise=0.05), more=(32,), surrogates=("gp_root", "ridge_root"), seed=0
    )
    assert [row.runs for row in rows] == [24, 56]
    now = advise(
        make_trials(56, noise=0.05), more=(), surrogates=("gp_root", "ridge_root"), seed=0
    )[0]
    assert rows[1].error < rows[0].error
    assert rows[1].error == pytest.approx(now.error, rel=0.6)
    assert rows[0].rank_interval[0] <= rows[0].rank <= rows[0].rank_interval[1]


def test_too_few_runs_for_a_curve():
    with pytest.raises(TrialsError, match="12 runs are too few"):
        advise(make_trials(12), seed=0)


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_cheap_runs_stand_behind_every_fit_and_are_not_what_is_tested(seed):
    """With cheap runs of the truth, few dear ones are known better; alone they are not."""
    dear = make_trials(20, noise=0.01, seed=seed).labelled("large")
    cheap = make_trials(60, noise=0.01, seed=2).labelled("small")
    levels, laws = ("small", "large"), ("gp_root", "ridge_root")
    alone = advise(dear, more=(), surrogates=laws, seed=0)[0]
    helped = advise(cheap + dear, more=(8,), surrogates=laws, fidelities=levels, seed=0)
    assert [row.runs for row in helped] == [20, 28]
    assert helped[0].error < alone.error


def test_too_few_dear_runs_for_a_curve():
    table = make_trials(40).labelled("small") + make_trials(9, seed=1).labelled("large")
    with pytest.raises(TrialsError, match="9 large runs are too few"):
        advise(table, fidelities=("small", "large"), seed=0)


def test_a_curve_of_runs_with_gaps_and_none_of_one_mixture():
    table = make_trials(24, noise=0.05)
    gaps = [
        replace(t, scores={n: s for k, (n, s) in enumerate(t.scores.items()) if k != i % 3})
        for i, t in enumerate(table)
    ]
    rows = advise(
        Trials(gaps, table.metrics, table.domains), more=(8,), surrogates=("gp_root",), seed=0
    )
    assert 0 < rows[0].error < 1.5
    same = [replace(t, ratios=table[0].ratios) for t in table]
    with pytest.raises(TrialsError, match="have 1 different mixtures"):
        advise(Trials(same, table.metrics, table.domains), seed=0)


def test_of_eight_mixtures_with_equal_repeats_all_subsets_are_equal():
    """Five are fitted and three tested, always, which is no curve; of nine there are two sizes."""
    rng = np.random.default_rng(0)
    ratios = np.repeat(rng.dirichlet(np.ones(3), 9), 2, axis=0)
    scores = ratios[:, :1] + 0.01 * rng.normal(size=(18, 1))

    def expect(n):
        runs = Trials.from_arrays(
            ratios[:n], scores[:n], domains=list("abc"), metrics={"loss": "lower"}
        )
        return advise(runs, more=(), surrogates="ridge", seed=0)

    with pytest.raises(TrialsError, match=r"have 8 different mixtures, .* at least 9 are needed"):
        expect(16)
    assert expect(18)[0].runs == 18


def test_repeats_of_a_mixture_are_on_one_side():
    """Scores that differ between mixtures, but not by their ratios, are not predicted."""
    rng = np.random.default_rng(1)
    ratios = np.repeat(rng.dirichlet(np.ones(4), 20), 2, axis=0)
    scores = np.repeat(rng.normal(size=20), 2) + 0.01 * rng.normal(size=40)
    runs = Trials.from_arrays(
        ratios, scores[:, None], domains=list("abcd"), metrics={"loss": "lower"}
    )
    expected = advise(runs, more=(), surrogates="gp_root", seed=0)[0]
    assert expected.rank < 0.5
    assert expected.error > 0.6


@pytest.mark.parametrize("seed", range(6))
def test_a_mixture_with_many_repeats_is_not_fitted_alone(seed):
    rng = np.random.default_rng(0)
    ratios = np.vstack([np.tile([0.4, 0.3, 0.3], (10, 1)), rng.dirichlet(np.ones(3), 10)])
    scores = ratios[:, :1] + 0.01 * rng.normal(size=(20, 1))
    runs = Trials.from_arrays(ratios, scores, domains=list("abc"), metrics={"loss": "lower"})
    assert advise(runs, more=(), surrogates="ridge", seed=seed)[0].rank > 0


def test_a_split_takes_whole_mixtures_and_leaves_some_to_test():
    groups = np.array([0] * 9 + [1, 2, 3, 4, 5, 6, 7])
    sizes = set()
    for seed in range(20):
        train, rest = _split_mixtures(groups, 0.8, np.random.default_rng(seed))
        assert sorted([*train, *rest]) == list(range(16))
        assert not {*groups[train]} & {*groups[rest]}
        assert len({*groups[rest]}) >= 3
        sizes.add(len(train))
    assert sizes == {5, 13}


def test_more_is_a_list_of_numbers_and_seeds_are_numbers():
    trials = make_trials(20)
    for more, words in ((8, r"more is 8; give a list of numbers, such as \[8\]"),
                        ("8", "more is '8'"), (["8"], "A number of more is '8'")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            advise(trials, more=more)
    with pytest.raises(UserError, match="The seed is -1"):
        advise(trials, seed=-1)


def test_an_integer_of_numpy_is_the_same_seed_and_names_may_come_from_a_generator():
    trials = make_trials(20)
    plain = advise(trials, seed=3, surrogates=["ridge_root"], more=[8])
    names = (name for name in ["ridge_root"])
    assert advise(trials, seed=np.int64(3), surrogates=names, more=iter([8])) == plain
