from mixopt.callbacks.mlflow.names import MAX_PARAM_LENGTH, flatten, metric_key


def test_names_are_in_mlflows_alphabet():
    assert metric_key("score/α [x]=1 ok") == "score/α _x__1 ok"


def test_nested_fields_are_dotted_and_cut():
    flat = flatten({"a": {"b": 1, "c": None}, "d": "x" * 900, "e": [1, 2]})
    assert flat == {"a.b": "1", "d": "x" * MAX_PARAM_LENGTH, "e": "[1, 2]"}
