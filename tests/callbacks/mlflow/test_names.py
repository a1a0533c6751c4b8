from mixopt import Estimate, Mixture, Proposal
from mixopt.callbacks.mlflow.names import MAX_PARAM_LENGTH, flatten, metric_key, proposal_metrics
from mixopt.decision import Decision


def test_names_are_in_mlflows_alphabet():
    assert metric_key("score/α [x]=1 ok") == "score/α _x__1 ok"


def test_nested_fields_are_dotted_and_cut():
    flat = flatten({"a": {"b": 1, "c": None}, "d": "x" * 900, "e": [1, 2]})
    assert flat == {"a.b": "1", "d": "x" * MAX_PARAM_LENGTH, "e": "[1, 2]"}


def test_a_decision_without_tokens_is_logged_too():
    natural, other = Mixture({"a": 1.0}), Mixture({"b": 1.0})
    decision = Decision(False, other, natural, Estimate(0.1, 0.2), None, 24, reference="best seen")
    values = proposal_metrics(Proposal(natural, Estimate(0, 1), {}, decision=decision))
    assert values["decision/moves"] == 0
    assert 0.6 < values["decision/chance"] < 0.7
    assert values["proposal/ratio/a"] == 1
