import numpy as np
import pytest
from example_trials import make_trials

from mixopt import Metric, Mixture, Score, Trial, Trials
from mixopt.errors import ArgumentTypeError, HoldoutError, TrialsError

METRICS = (Metric("loss"), Metric("acc", "higher", "skill", role="holdout"))


def trial(name, loss=1.0, kind="trained"):
    return Trial(name, Mixture({"a": 0.5, "b": 0.5}), {"loss": Score(loss, 0.1)}, kind=kind)


def test_values_hold_nan_where_a_score_is_missing():
    values = Trials([trial("x")], METRICS, ("a", "b")).values(METRICS)
    assert values[0, 0] == 1.0
    assert np.isnan(values[0, 1])


def test_same_id_twice_in_one_kind_is_refused():
    with pytest.raises(TrialsError, match="id 'x'"):
        Trials([trial("x"), trial("x")], METRICS, ("a", "b"))
    both = Trials([trial("x", kind="merged"), trial("x", kind="ensembled")], METRICS, ("a", "b"))
    assert [t.kind for t in both.where(kind="merged")] == ["merged"]


def test_an_infinite_score_of_a_run_that_diverged_is_missing():
    table = Trials([trial("x"), trial("y", np.inf), trial("z", -1e200)], METRICS, ("a", "b"))
    assert np.isnan(table.values(METRICS)[:, 0]).tolist() == [False, True, True]


def test_two_metrics_of_one_name_are_refused():
    with pytest.raises(TrialsError, match="Two metrics have the name 'loss'; names are unique"):
        Trials([trial("x")], [Metric("loss"), Metric("loss", "higher")], ("a", "b"))


def test_score_of_no_metric_is_refused():
    with pytest.raises(TrialsError, match="Did you mean 'loss'"):
        Trials([Trial("x", Mixture({"a": 1.0}), {"los": Score(1)})], METRICS, ("a",))


def test_holdout_metrics_do_not_choose():
    trials = Trials([trial("x")], METRICS, ("a", "b"))
    assert [m.name for m in trials.search_metrics] == ["loss"]
    with pytest.raises(HoldoutError, match="'acc' has role holdout"):
        trials.require_search(["acc"])
    with pytest.raises(HoldoutError, match="it chose the mixture, so its score is no result"):
        trials.require_holdout([trials.search_metrics[0].name])
    assert trials.require_holdout(["acc"]) == trials.holdout_metrics


def test_reprs_count_and_name_in_short():
    first = make_trials(6, kind="merged")
    trials = Trials([*first, *make_trials(3, fidelity="1B")], first.metrics, first.domains)
    assert repr(trials) == (
        "Trials(6 merged, 3 1B; 4 domains: a, b, c, d; 3 metrics: loss_a ↓, loss_b ↓, acc_c ↑)"
    )
    html = make_trials(30)._repr_html_()
    assert html.count("<tr") == 11
    assert "30 trials" in html
    odd = Trials([Trial("<script>", {"a": 1.0})], [], ("a",))
    assert "<script>" not in odd._repr_html_()


def test_a_vector_does_not_search_the_domains_one_by_one():
    """Comparisons of names grow with the domains, not with their square."""
    compared = 0

    class Name(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    names = [Name(f"domain {i}") for i in range(300)]
    Mixture.uniform([str(name) for name in names]).vector(names)
    assert compared < 3000


def test_a_metric_is_found_by_the_name_of_its_column_too():
    named = (Metric("loss", column="val_loss"), Metric("acc", "higher", column="loss"))
    trials = Trials([trial("x")], named, ("a", "b"))
    assert trials.metric("val_loss") == trials.metric("loss") == named[0]
    assert [trials.own_name(name) for name in ("val_loss", "loss", "other")] == [
        "loss",
        "loss",
        "other",
    ]
    plain = Trials([trial("x")], (Metric("loss"), Metric("acc", "higher")), ("a", "b"))
    assert trials.digest == plain.digest


def test_what_is_no_trial_or_metric_is_refused():
    with pytest.raises(ArgumentTypeError, match="A trial is a dict, not a Trial"):
        Trials([{"a": 1.0}], METRICS, ("a",))
    with pytest.raises(ArgumentTypeError, match="A metric is a str, not a Metric"):
        Trials([], ["loss"], ("a",))
