"""Trials from arrays and data frames, and back."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from example_trials import DOMAINS, make_trials

import mixopt
from mixopt import Metric, Score, Trial, Trials
from mixopt.errors import ArgumentTypeError, MixtureError, TrialsError

METRICS = (Metric("loss"), Metric("acc", "higher", "skill", role="holdout"))


def full_trials():
    """Every field that a frame holds, on two fidelities, with a gap and weights."""
    first = make_trials(6, seed=1, std_error=0.1, kind="merged", round=2)
    weights = {"x": 0.5, "y": 0.5}
    rows = [replace(t, weights=weights, tokens=3, flops=2.0, cost=0.5) for t in first]
    rows[2] = replace(rows[2], scores={"loss_a": Score(1.0)}, weights=None)
    other = make_trials(3, seed=2, fidelity="1B")
    return Trials([*rows, *(replace(t, seed=7) for t in other)], first.metrics, DOMAINS)


def test_frame_has_a_column_for_every_ratio_and_score():
    rows = [Trial(name, {"a": 0.5, "b": 0.5}, {"loss": Score(loss, 0.1)})
            for name, loss in (("x", 1.0), ("y", 2.0))]  # fmt: skip
    frame = Trials(rows, METRICS, ("a", "b")).to_frame()
    assert frame["score/loss"].tolist() == [1.0, 2.0]
    assert frame["ratio/a"].tolist() == [0.5, 0.5]
    assert frame["se/loss"].tolist() == [0.1, 0.1]


@pytest.mark.parametrize("make", [full_trials, lambda: make_trials(5)])
def test_a_frame_comes_back_as_the_same_trials(make):
    trials = make()
    again = Trials.from_frame(trials.to_frame(), domains=trials.domains, metrics=trials.metrics)
    assert again.digest == trials.digest
    assert again.levels == trials.levels


def test_a_frame_of_plain_columns_and_its_index():
    frame = pd.DataFrame({"b": [0.5, 1], "a": [0.5, 0], "loss": [2, np.nan], "acc": [0.1, 0.2]},
                         index=["x", "y"])  # fmt: skip
    trials = Trials.from_frame(
        frame, domains=["a", "b"], metrics={"loss": "lower", "acc": "higher"}
    )
    assert [trial.id for trial in trials] == ["x", "y"]
    assert trials.ratios().tolist() == [[0.5, 0.5], [0, 1]]
    assert trials.metric("acc").better == "higher"
    assert list(trials[1].scores) == ["acc"]


def test_arrays_become_trials():
    trials = Trials.from_arrays(
        [[0.5, 0.5], [0.2, 0.8]], [[1.0, np.nan], [2.0, 3.0]], domains=("a", "b"),
        metrics=METRICS, std_errors=[[0.1, 0.2], [np.nan, 0.3]],
    )  # fmt: skip
    assert trials.ratios().tolist() == [[0.5, 0.5], [0.2, 0.8]]
    assert list(trials[0].scores) == ["loss"]
    assert trials.std_errors(METRICS)[1].tolist()[1] == 0.3
    assert [trial.id for trial in trials] == ["0", "1"]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"ratios": [[1.0]]}, TrialsError, r"ratios has the shape \(1, 1\) and \(1, 2\) is needed"),
        ({"scores": [1.0]}, TrialsError, r"scores has the shape \(1,\)"),
        ({"ids": ["x", "y"]}, TrialsError, r"ids has the shape \(2,\)"),
        (
            {"ratios": [[0.5, 0.6]]},
            MixtureError,
            r"Run 0: its ratios sum to 1.1, .* ratios / ratios.sum\(axis=1, keepdims=True\)",
        ),
        ({"ratios": [[np.nan, 1]], "ids": ["x"]}, MixtureError, "Run x: The ratio of 'a' is nan"),
        ({"kind": "real"}, TrialsError, "of the kind 'real'; say 'ensembled', 'merged' or"),
        ({"scores": [["high"]]}, ArgumentTypeError, "arrays of numbers"),
        ({"metrics": ["loss"]}, ArgumentTypeError, "give mixopt.Metric"),
        ({"metrics": "loss"}, ArgumentTypeError, "give mixopt.Metric"),
        ({"metrics": {"loss": "small"}}, TrialsError, "better 'small'; say 'lower' or 'higher'"),
    ],
)
def test_arrays_that_do_not_fit_together(changes, error, words):
    given = {"ratios": [[0.5, 0.5]], "scores": [[1.0]], "metrics": {"loss": "lower"}}
    with pytest.raises(error, match=words):
        Trials.from_arrays(domains=("a", "b"), **(given | changes))


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        ([[1]], ArgumentTypeError, "frame is a list, not a DataFrame"),
        (
            {"a": [1.0], "los": [1.0]},
            TrialsError,
            "no column score/loss or loss. Did you mean 'los'",
        ),
        ({"a": ["x"], "loss": [1.0]}, TrialsError, "Column 'a' holds .* not numbers"),
        ({"a": [0.9], "loss": [1.0], "id": ["x"]}, MixtureError, "Run x: its ratios sum to 0.9"),
        (
            {"a": [1.0], "loss": [1.0], "tokens": ["1B"]},
            TrialsError,
            "Run 0: its tokens is '1B'; give a whole number, or leave it empty",
        ),
        ({"a": [1.0], "loss": [1.0], "seed": ["first"]}, TrialsError, "Run 0: its seed is 'first'"),
        (
            {"a": [1.0, 1], "loss": [1.0, 1], "se/loss": [0.1, "low"]},
            TrialsError,
            "Run 1: its se/loss is 'low'; give a number",
        ),
        ({"a": [1.0], "loss": [1.0], "weight/x": ["?"]}, TrialsError, "its weight/x is '\\?'"),
        ({"a": [1.0, 1], "loss": [1, 1], "id": ["x", "x"]}, TrialsError, "have the id 'x'"),
    ],
)
def test_frames_that_are_no_trials(frame, error, words):
    given = pd.DataFrame(frame) if isinstance(frame, dict) else frame
    with pytest.raises(error, match=words):
        Trials.from_frame(given, domains=["a"], metrics={"loss": "lower"})


def test_a_frame_looks_at_each_trial_a_fixed_number_of_times(monkeypatch):
    """A look at all trials inside the loop over them made tables of ten thousand take half a minute."""
    counts = []
    original = Trials.__iter__

    def counted(self):
        for one in original(self):
            counts[-1] += 1
            yield one

    monkeypatch.setattr(Trials, "__iter__", counted)
    for n in (20, 200):
        trials = make_trials(n)
        counts.append(0)
        trials.to_frame()
    assert counts[1] == 10 * counts[0]


@pytest.mark.parametrize("form", ["arrays", "frame"])
def test_one_run_that_diverged_leaves_the_others_their_proposal(form, caplog):
    runs = make_trials(24)
    scores = runs.values(runs.metrics)
    scores[3, 0], scores[5, 2] = np.inf, -np.inf
    frame = pd.DataFrame(np.hstack([runs.ratios(), scores]),
                         columns=[*DOMAINS, *(m.name for m in runs.metrics)])  # fmt: skip
    kinds = {"domains": DOMAINS, "metrics": runs.metrics}
    read = (
        Trials.from_frame(frame, **kinds)
        if form == "frame"
        else Trials.from_arrays(runs.ratios(), scores, **kinds)
    )
    assert "2 infinite scores (trial 3, 'loss_a', ...) are taken as missing." in caplog.text
    assert "loss_a" not in read[3].scores
    proposal = mixopt.propose(
        mixopt.fit(read, surrogates="ridge_root"), mixopt.SearchSpace(DOMAINS), seed=0
    )[0]
    assert np.isfinite(proposal.utility.mean)


def test_ids_and_seeds_that_are_integers_stay_integers():
    frame = pd.DataFrame({"id": [7, 8], "seed": [1, 2], "a": [1.0, 1.0], "loss": [2.0, 3.0]})
    trials = Trials.from_frame(frame, domains=["a"], metrics={"loss": "lower"})
    assert [(t.id, t.seed) for t in trials] == [("7", 1), ("8", 2)]


@pytest.mark.parametrize("twice", ["a", "loss", "id", "se/loss", "weight/x", "seed"])
def test_a_column_that_is_there_twice_is_refused(twice):
    columns = dict.fromkeys(("a", "loss", "id", "se/loss", "weight/x", "seed", "other"), 1)
    frame = pd.DataFrame([[*columns.values(), 1]], columns=[*columns, twice])
    with pytest.raises(TrialsError, match=f"The frame has the column '{twice}' twice"):
        Trials.from_frame(frame, domains=["a"], metrics={"loss": "lower"})
    unused = frame.rename(columns={twice: twice})
    unused.columns = [*columns, "other"]
    assert len(Trials.from_frame(unused, domains=["a"], metrics={"loss": "lower"})) == 1


RUNS = pd.DataFrame({"a": [0.2, 0.7], "b": [0.8, 0.3], "loss": [2.0, 1.0]}, index=["x", "y"])


def test_frames_as_arrays_are_read_by_position():
    trials = Trials.from_arrays(
        RUNS[["a", "b"]],
        RUNS[["loss"]],
        domains=["a", "b"],
        metrics={"loss": "lower"},
        ids=RUNS.index,
    )
    assert trials.ratios()[:, 0].tolist() == [0.2, 0.7]
    assert [trial.id for trial in trials] == ["x", "y"]
    prefixed, numbered = (
        RUNS[["a", "b"]].add_prefix("ratio/"),
        pd.DataFrame([[0.2, 0.8], [0.7, 0.3]]),
    )
    for ratios in (prefixed, numbered):
        same = Trials.from_arrays(
            ratios, RUNS[["loss"]].to_numpy(), domains=["a", "b"], metrics={"loss": "lower"},
            ids=["x", "y"],
        )  # fmt: skip
        assert same.digest == trials.digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ratios": RUNS[["b", "a"]]}, "ratios is read by position, .* columns are b, a where a, b"),
        ({"scores": RUNS[["a"]]}, "scores is read by position, and its columns are a where loss"),
        ({"scores": RUNS.sort_values("loss")[["loss"]]}, "ratios and scores are read by position, and "
         "their rows have different indices; .* Trials.from_frame"),
        ({"ids": pd.Series(["x", "y"])}, "ratios and ids are read by position"),
    ],
)  # fmt: skip
def test_frames_as_arrays_in_another_order_are_refused(changes, words):
    given = {"ratios": RUNS[["a", "b"]], "scores": RUNS[["loss"]]} | changes
    with pytest.raises(TrialsError, match=words):
        Trials.from_arrays(domains=["a", "b"], metrics={"loss": "lower"}, **given)


def test_columns_that_are_domains_or_metrics_are_no_fields():
    frame = pd.DataFrame(
        {"id": [0.4, 0.1], "en": [0.6, 0.9], "cost": [3.0, 4.0], "seed": [0.5, 0.25]},
        index=["x", "y"],
    )
    metrics = {"cost": "lower", "seed": "higher"}
    trials = Trials.from_frame(frame, domains=["id", "en"], metrics=metrics)
    assert [(t.id, t.cost, t.seed) for t in trials] == [("x", 0.0, None), ("y", 0.0, None)]
    assert trials.ratios()[:, 0].tolist() == [0.4, 0.1]
    again = Trials.from_frame(trials.to_frame(), domains=trials.domains, metrics=trials.metrics)
    assert again.digest == trials.digest


def test_a_column_kind_of_other_words_is_left_out(caplog):
    frame = RUNS.assign(kind="real")
    trials = Trials.from_frame(frame, domains=["a", "b"], metrics={"loss": "lower"})
    assert {trial.kind for trial in trials} == {"trained"}
    assert (
        "The column 'kind' holds other words (real) than ensembled, merged, trained" in caplog.text
    )
    merged = Trials.from_frame(
        RUNS.assign(kind="merged"), domains=["a", "b"], metrics={"loss": "lower"}
    )
    assert {trial.kind for trial in merged} == {"merged"}


def test_names_may_be_numbers_and_come_from_generators():
    frame = pd.DataFrame([[0.2, 0.8, 1.0], [0.7, 0.3, 2.0]])
    trials = Trials.from_frame(
        frame, domains=(n for n in (0, 1)), metrics=(Metric(n) for n in (2,))
    )
    assert trials.domains == ("0", "1")
    assert trials.values(trials.metrics).tolist() == [[1.0], [2.0]]
    arrays = Trials.from_arrays(
        frame[[0, 1]], frame[[2]].to_numpy(), domains=(n for n in (0, 1)), metrics={2: "lower"}
    )
    assert arrays.digest == trials.digest
    with pytest.raises(ArgumentTypeError, match="give mixopt.Metric"):
        Trials.from_frame(frame, domains=[0, 1], metrics=2)
