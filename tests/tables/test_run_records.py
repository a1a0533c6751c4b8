import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.run_records import drop_run_metadata, drop_unfinished, is_bool


def test_runs_that_are_not_finished_are_left_out(caplog):
    frame = pd.DataFrame({"State": ["finished", "running", "FINISHED"], "loss": [1.0, 2.0, 3.0]})
    assert drop_unfinished(frame, "runs.csv")["loss"].tolist() == [1.0, 3.0]
    assert "1 runs that are not finished" in caplog.text
    assert drop_unfinished(frame[["loss"]], "runs.csv").equals(frame[["loss"]])


def test_where_no_run_is_finished_the_states_are_named():
    frame = pd.DataFrame({"state": ["crashed", "running"], "loss": [1.0, 2.0]})
    with pytest.raises(TrialsError, match="crashed, running"):
        drop_unfinished(frame, "runs.csv")


def test_text_switches_and_records_are_no_metrics():
    frame = pd.DataFrame({
        "loss": [1.0, 2.0], "host": ["a", "b"], "resumed": [True, None], "_runtime": [10.0, 20.0],
        "gpu_hours": [1.0, 2.0],
    })  # fmt: skip
    assert list(drop_run_metadata(frame, "runs.csv").columns) == ["loss", "gpu_hours"]


def test_cells_that_are_true_or_false():
    assert is_bool(pd.Series([True, None], dtype=object))
    assert not is_bool(pd.Series([1.0, 0.0]))
    assert not is_bool(pd.Series([None, None], dtype=object))
