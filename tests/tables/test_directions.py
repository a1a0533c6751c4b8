import pandas as pd

from mixopt.tables.directions import tell_directions


def test_given_directions_come_before_names():
    scores = pd.DataFrame({"val_loss": [1.0, 2.0], "acc": [0.1, 0.2]})
    assert tell_directions(scores, None, "t") == {"val_loss": "lower", "acc": "higher"}
    assert tell_directions(scores, {"val_loss": "higher"}, "t")["val_loss"] == "higher"
    assert tell_directions(scores, "lower", "t") == {"val_loss": "lower", "acc": "lower"}


def test_a_table_of_losses_is_said_to_be_taken_for_one(caplog):
    scores = pd.DataFrame({f"task{i}": [1.5, 2.0] for i in range(3)})
    assert set(tell_directions(scores, None, "t").values()) == {"lower"}
    assert "taken as losses" in caplog.text
