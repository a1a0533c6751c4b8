"""Checks of trials and of tables of them."""

import re

import numpy as np
import pytest
from example_trials import DOMAINS, METRICS, make_trials

import mixopt
from mixopt import Metric, Mixture, Score, Trial, Trials
from mixopt.errors import ArgumentTypeError, TrialsError


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Metric("acc", "max"),
            "Metric 'acc' is better 'max'; say 'lower' or 'higher'.",
        ),
        (
            lambda: Metric("acc", "Higher"),
            "Metric 'acc' is better 'Higher'; say 'lower' or 'higher'.",
        ),
        (
            lambda: Metric("acc", "higher", role="hold-out"),
            "Metric 'acc' has the role 'hold-out'; say 'search' or 'holdout'.",
        ),
        (
            lambda: Trial("x", {"a": 1.0}, kind="real"),
            "Trial 'x' is of the kind 'real'; say 'ensembled', 'merged' or 'trained'.",
        ),
        (
            lambda: make_trials(3).where(kind="train"),
            "kind is 'train'; say 'ensembled', 'merged' or 'trained'.",
        ),
        (
            lambda: make_trials(3, fidelity="1B").at("1b"),
            "No trial has fidelity '1b'. Did you mean '1B'?",
        ),
        (
            lambda: make_trials(3, fidelity="1B").at("1000M"),
            "No trial has fidelity '1000M'. Did you mean '1B'?",
        ),
        (
            lambda: Trials(make_trials(3), METRICS, ("a", "b", "c", "a")),
            "domains has 'a' twice; name each domain once.",
        ),
        (
            lambda: Trials([Trial("x", {"a": 0.5, "wbe": 0.5})], [], ["a", "web"]),
            "Trial 'x' has a ratio of 'wbe', which is no domain of this table. Did you mean 'web'?",
        ),
    ],
)
def test_words_that_decide_nothing_are_refused(make, words):
    with pytest.raises(TrialsError, match=f"^{re.escape(words)}$"):
        make()


def test_a_subset_may_lack_a_fidelity():
    assert len(make_trials(3, fidelity="60M").at("600M")) == 0


def test_a_string_of_domains_is_refused():
    with pytest.raises(
        ArgumentTypeError, match="domains is the string 'web'; give a list of names"
    ):
        Trials([], METRICS, "web")


def test_a_ratio_of_0_may_be_of_another_domain():
    table = Trials([Trial("x", {"a": 1.0, "b": 0.0})], [], ["a"])
    assert table.ratios().tolist() == [[1.0]]


def test_domains_and_metrics_of_numbers_are_names_as_text():
    trials = Trials([Trial("x", {0: 0.5, 1: 0.5}, {2: 1.0})], [Metric(2)], [0, 1])
    assert trials.domains == ("0", "1")
    assert trials.ratios().tolist() == [[0.5, 0.5]]
    assert trials.values(trials.metrics).tolist() == [[1.0]]


def one_run(name, better, level="1M", **fields):
    trial = Trial("t", Mixture({"a": 1.0}), {name: Score(1.0)}, fidelity=level)
    return Trials([trial], [Metric(name, better, **fields)], ("a",))


def test_tables_that_name_or_turn_a_metric_otherwise_are_not_added():
    small = one_run("web_loss", "lower")
    with pytest.raises(TrialsError, match="better lower in one table and higher"):
        small + one_run("web_loss", "higher", "1B")
    with pytest.raises(TrialsError, match="'web_loss' of one table is called 'val_web_loss'"):
        small + one_run("val_web_loss", "lower", "1B")
    assert len((small + one_run("code_loss", "lower", "1B")).metrics) == 2


def test_tables_that_use_a_metric_otherwise_are_not_added():
    """The first table's role would let a holdout metric choose."""
    small = one_run("loss", "lower")
    with pytest.raises(
        TrialsError, match="has the role search in one table and holdout in the other"
    ):
        small + one_run("loss", "lower", "1B", role="holdout")
    with pytest.raises(
        TrialsError, match="is of the capability all in one table and math in the other"
    ):
        small + one_run("loss", "lower", "1B", capability="math")


def test_what_is_no_table_is_not_added():
    trials = make_trials(3)
    with pytest.raises(ArgumentTypeError, match="What is added is a list, not a Trials"):
        trials + [trials[0]]
    with pytest.raises(TypeError):
        sum([trials], start=1)


def test_tables_add_up():
    parts = [make_trials(3, fidelity=name) for name in ("1M", "1B")]
    assert sum(parts).levels == ("1M", "1B")
    with pytest.raises(TrialsError, match=r"ids are unique, so give other ids, or .*labelled"):
        parts[0] + parts[0]


def test_masks_and_positions_select_trials():
    trials = make_trials(5)
    losses = trials.values(METRICS)[:, 0]
    best = np.argsort(losses)[:2]
    assert [t.id for t in trials[best]] == [f"t{place}" for place in best]
    mask = losses < np.median(losses)
    assert (
        trials[mask].digest == trials[np.flatnonzero(mask)].digest == trials[mask.tolist()].digest
    )
    assert len(trials[[]]) == 0
    assert trials[np.int64(2)] is trials[2]
    assert trials[[-1]][0] is trials[4]


@pytest.mark.parametrize(
    ("index", "error", "words"),
    [
        ("t0", ArgumentTypeError, "not by 't0'; find one by its id with"),
        ([0.5], ArgumentTypeError, "not by a list"),
        (None, ArgumentTypeError, "not by a NoneType"),
        ([True], TrialsError, "The mask has 1 values for 5 trials; give one for each"),
        ([7], IndexError, "out of range"),
    ],
)
def test_what_selects_no_trials(index, error, words):
    with pytest.raises(error, match=words):
        make_trials(5)[index]


def test_a_fidelity_may_be_given_as_a_number():
    small, large = make_trials(20).labelled(1000), make_trials(6, seed=1).labelled(1e9)
    assert (small + large).levels == ("1000", "1000000000")
    fitted = mixopt.fit(small + large, surrogates="ridge_root")
    assert fitted.fidelities[-1].level == "1000000000"
    assert fitted.trials.domains == DOMAINS
