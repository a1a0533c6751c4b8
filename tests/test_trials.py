import numpy as np
import pytest

from mixopt import Metric, Mixture, Score, Trial, Trials
from mixopt.errors import HoldoutError, TrialsError

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


def test_frame_has_a_column_for_every_ratio_and_score():
    frame = Trials([trial("x"), trial("y", 2.0)], METRICS, ("a", "b")).to_frame()
    assert frame["score/loss"].tolist() == [1.0, 2.0]
    assert frame["ratio/a"].tolist() == [0.5, 0.5]
    assert frame["se/loss"].tolist() == [0.1, 0.1]


def test_tables_that_name_or_turn_a_metric_otherwise_are_not_added():
    def table(name, better, level):
        trial = Trial("t", Mixture({"a": 1.0}), {name: Score(1.0)}, fidelity=level)
        return Trials([trial], [Metric(name, better)], ("a",))

    small = table("web_loss", "lower", "1M")
    with pytest.raises(TrialsError, match="better lower in one table and higher"):
        small + table("web_loss", "higher", "1B")
    with pytest.raises(TrialsError, match="'web_loss' of one table is called 'val_web_loss'"):
        small + table("val_web_loss", "lower", "1B")
    assert len((small + table("code_loss", "lower", "1B")).metrics) == 2
