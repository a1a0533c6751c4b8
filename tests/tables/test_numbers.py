import numpy as np
import pandas as pd
import pytest

from mixopt.errors import MixtureError, TrialsError
from mixopt.tables.numbers import drop_infinite, normalize_rows, require_numbers


def test_infinite_cells_are_missing_and_said(caplog):
    frame = pd.DataFrame({"loss": [1.0, np.inf, -np.inf]}, index=["x", "y", "z"])
    assert drop_infinite(frame, "T")["loss"].isna().tolist() == [False, True, True]
    assert "2 infinite cells (run y, column 'loss', ...)" in caplog.text


def test_cells_that_are_no_numbers_are_named():
    frame = pd.DataFrame({"loss": ["1.5", "high"]}, index=["x", "y"])
    with pytest.raises(TrialsError, match="run y, column 'loss': 'high' is not a number"):
        require_numbers(frame, "T")


def test_rounding_is_taken_off_and_said(caplog):
    caplog.set_level("INFO")
    rows = normalize_rows(np.array([[0.5, 0.497], [0.5, 0.5]]), ["x", "y"], "T")
    assert rows.sum(axis=1) == pytest.approx(1)
    assert "1 of 2 rows summed to 1 only within rounding" in caplog.text


def test_counts_are_asked_for_and_then_taken():
    rows = np.array([[300.0, 700.0], [50.0, 50.0]])
    with pytest.raises(MixtureError, match="run x: the ratios sum to 1000.*counts=True"):
        normalize_rows(rows, ["x", "y"], "T")
    assert normalize_rows(rows, ["x", "y"], "T", counts=True).tolist() == [[0.3, 0.7], [0.5, 0.5]]
    with pytest.raises(MixtureError, match="run y: all its counts are zero"):
        normalize_rows(np.array([[1.0, 1], [0, 0]]), ["x", "y"], "T", counts=True)
