from mixopt import Estimate, Metric, Mixture, Proposal, Score
from mixopt.callbacks.mlflow.names import (
    MAX_PARAM_LENGTH,
    describe_study,
    flatten,
    metric_key,
    proposal_metrics,
    ratio_params,
    score_points,
)
from mixopt.decision import Decision


def test_names_are_in_mlflows_alphabet():
    assert metric_key("score/α [x]=1 ok") == "score/α _x__1 ok"
    assert metric_key("ratio/a//b/../c/") == "ratio/a/b/c"
    assert metric_key("..") == "_"
    assert len(metric_key("w" * 400)) == 250


def test_nested_fields_are_dotted_and_cut():
    flat = flatten({"a": {"b": 1, "c": None}, "d": "x" * 900, "e": [1, 2]})
    assert flat == {"a.b": "1", "d": "x" * MAX_PARAM_LENGTH, "e": "[1, 2]"}


def test_ratios_that_mlflow_cannot_tell_apart_are_numbered():
    params = ratio_params({"a[b": 0.25, "a]b": 0.5, "w" * 400: 0.25, "w" * 401: 0.0})
    assert list(params.values()) == ["0.25", "0.5", "0.25", "0"]
    assert list(params)[:2] == ["ratio/a_b", "ratio/a_b_2"]
    assert max(map(len, params)) <= 250


def test_scores_are_points_and_what_is_missing_is_none():
    scores = {5: {"a": Score(1.0, 0.5), "b": Score(2.0), "c": Score(float("nan"))}}
    assert score_points(scores) == [
        ("score/a", 1.0, 0, 5), ("std_error/a", 0.5, 0, 5), ("score/b", 2.0, 0, 5),
    ]  # fmt: skip


def test_the_description_says_which_way_is_better():
    text = describe_study("stay", [Metric("loss"), Metric("acc", better="higher")])
    assert text.startswith("**stay**\n\nLower is better: `score/loss`.\n\n")
    assert "Higher is better: `score/acc`." in text


def test_a_decision_without_tokens_is_logged_too():
    natural, other = Mixture({"a": 1.0}), Mixture({"b": 1.0})
    decision = Decision(False, other, natural, Estimate(0.1, 0.2), None, 24, reference="best seen")
    values = proposal_metrics(Proposal(natural, Estimate(0, 1), {}, decision=decision))
    assert values["decision/moves"] == 0
    assert 0.6 < values["decision/chance"] < 0.7
    assert values["proposal/ratio/a"] == 1
