import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.metric_direction import drop_settings, infer_directions


def test_given_directions_come_before_names():
    scores = pd.DataFrame({"val_loss": [1.0, 2.0], "acc": [0.1, 0.2]})
    assert infer_directions(scores, None, "t") == {"val_loss": "lower", "acc": "higher"}
    assert infer_directions(scores, {"val_loss": "higher"}, "t")["val_loss"] == "higher"
    assert infer_directions(scores, "lower", "t") == {"val_loss": "lower", "acc": "lower"}


def test_values_tell_no_direction_and_guesses_from_names_are_said(caplog):
    caplog.set_level("INFO", "mixopt")
    hard = pd.DataFrame({"humaneval": [2.0, 9.0], "mbpp": [3.0, 18.0]})
    with pytest.raises(TrialsError, match="lower or higher 'humaneval' is better.*--ignore"):
        infer_directions(hard, None, "t")
    infer_directions(pd.DataFrame({"toxicity_score": [0.1, 0.2]}), None, "t")
    assert "by their names, higher is better for toxicity_score" in caplog.text


def test_two_directions_for_one_metric():
    scores = pd.DataFrame({"val_web_loss": [1.0, 2.0], "val_code_loss": [1.0, 2.0]})
    with pytest.raises(TrialsError, match="two directions for 'val_web_loss'"):
        infer_directions(scores, {"val_web_loss": "higher", "web_loss": "lower"}, "t")


def test_what_is_the_same_in_all_runs_and_no_metric_by_name_is_a_setting(caplog):
    caplog.set_level("INFO", "mixopt")
    scores = pd.DataFrame({"batch_size": [8, 8], "flat_loss": [1.0, 1.0], "loss": [1.0, 2.0]})
    assert list(drop_settings(scores, "lower", "t").columns) == ["flat_loss", "loss"]
    assert "batch_size have one value" in caplog.text
    assert "batch_size" in drop_settings(scores, {"batch_size": "lower"}, "t").columns
