import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.columns import (
    drop_settings,
    infer_directions,
    split_prefix,
    strip_common_prefix,
    without_tracker,
)


@pytest.mark.parametrize(
    ("column", "domain"),
    [
        ("ratio/web", "web"), ("params.ratio/web:science", "web:science"), ("mixture.code", "code"),
        ("config.mix_web", "web"), ("loss", None), ("ratio/", None), ("training_loss", None),
    ],
)  # fmt: skip
def test_ratios_by_their_prefix(column, domain):
    assert split_prefix(column, ("ratio", "mixture", "mix")) == domain


def test_names():
    assert without_tracker("metrics.val_loss") == "val_loss"
    assert strip_common_prefix(["train_the_pile_a", "train_the_pile_b"]) == ["a", "b"]
    assert strip_common_prefix(["web:a", "web:b"]) == ["web:a", "web:b"]


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


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("neg_loss", "higher"),
        ("negative_perplexity", "higher"),
        ("neg_accuracy", "lower"),
        ("acc_loss", "lower"),
        ("loss_acc", "higher"),
        ("valLoss", "lower"),
        ("eval/arc/acc", "higher"),
        ("hellaswag", None),
    ],
)
def test_the_last_word_and_the_sign_of_a_name(name, direction):
    frame = pd.DataFrame({name: [1.0, 2.0]})
    if direction is None:
        with pytest.raises(TrialsError, match="whether lower or higher"):
            infer_directions(frame, None, "T")
    else:
        assert infer_directions(frame, None, "T") == {name: direction}


def test_a_direction_of_all_that_are_not_named():
    frame = pd.DataFrame({"acc": [0.1, 0.2], "x": [1, 2], "y_acc": [3, 4]})
    found = infer_directions(frame, {"*": "lower", "acc": "higher"}, "T")
    assert found == {"acc": "higher", "x": "lower", "y_acc": "lower"}


def test_a_difference_of_a_metric_is_asked_for():
    frame = pd.DataFrame({"loss_improvement": [0.1, 0.2]})
    with pytest.raises(TrialsError, match="whether lower or higher 'loss_improvement' is better"):
        infer_directions(frame, None, "m.csv")


def test_all_that_a_score_alone_directs_are_named(caplog):
    """Four metrics were guessed, and three were named."""
    caplog.set_level("INFO", "mixopt")
    names = ["a_acc", "b_acc", "c_acc", "d_acc", "brier_score", "toxicity_score", "score_loss"]
    infer_directions(pd.DataFrame({name: [0.1, 0.2] for name in names}), None, "t")
    assert "higher is better for brier_score, toxicity_score, a_acc and 3 more" in caplog.text
    many = [f"{name}_score" for name in "abcde"]
    infer_directions(pd.DataFrame({name: [0.1, 0.2] for name in [*many, "acc"]}), None, "t")
    assert f"better for {', '.join(many)} and 1 more" in caplog.text
