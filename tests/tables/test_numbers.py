import numpy as np
import pandas as pd
import pytest

from mixopt.errors import MixtureError, TrialsError
from mixopt.tables.numbers import (
    as_numbers,
    drop_infinite,
    normalize_rows,
    require_numbers,
    to_plain_types,
)


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


def test_percent_are_told_by_their_sums(caplog):
    caplog.set_level("INFO")
    rows = np.array([[30.0, 70.0], [50.0, 50.3], [100.0, 0.0]])
    found = normalize_rows(rows, ["x", "y", "z"], "T")
    expected = [[0.3, 0.7], [50.0 / 100.3, 50.3 / 100.3], [1.0, 0.0]]
    assert found == pytest.approx(np.array(expected))
    assert "T: ratios sum to 100 and are read as percent" in caplog.text
    wrong = np.vstack([rows] * 4)
    wrong[5] += 3.5
    with pytest.raises(MixtureError, match="run 5: the ratios sum to 1.07, not to 1; fix the row"):
        normalize_rows(wrong, range(12), "T")


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["12.5%", " 50 % "], [0.125, 0.5]),
        (["\u22120.5", "1"], [-0.5, 1]),
        (["1,000,000", "2,500,000.5"], [1e6, 2500000.5]),
        (["1_000", "2"], [1000, 2]),
        (["1,234", "2"], [np.nan, 2]),  # which may be 1.234
        ([2**80, "3"], [2.0**80, 3]),
        (["high", None], [np.nan, np.nan]),
        (pd.to_datetime(["2025-01-01", "2025-01-02"], utc=True), [np.nan, np.nan]),
        (pd.to_timedelta([1, 2], unit="s"), [np.nan, np.nan]),
    ],
)
def test_cells_as_numbers(cells, numbers):
    assert as_numbers(pd.Series(cells)).tolist() == pytest.approx(numbers, nan_ok=True)


def test_categories_and_types_of_pandas_become_plain():
    frame = pd.DataFrame({
        "a": pd.Categorical(["x", "y"]), "b": pd.array([1, 2], dtype="Int64"),
        "c": pd.array([1, None], dtype="Int64"), "d": pd.array([0.5, None], dtype="Float64"),
        "e": pd.array([True, False], dtype="boolean"), "f": ["x", None],
    })  # fmt: skip
    plain = to_plain_types(frame)
    assert [dtype.kind for dtype in plain.dtypes[:5]] == list("Oiffb")
    assert plain["c"].tolist() == pytest.approx([1, np.nan], nan_ok=True)
    assert list(plain["a"]) == ["x", "y"]
    assert frame["a"].dtype == "category"


def test_sums_that_rounding_explains():
    thirds = normalize_rows(np.full((1, 3), 0.33), ["x"], "T")
    assert thirds == pytest.approx(np.full((1, 3), 1 / 3))
    many = np.array([[0.02] * 18 + [0.31, 0.31]])  # sums to 0.98
    with pytest.raises(MixtureError, match="rounded pass counts=True .--counts on the shell"):
        normalize_rows(many, ["x"], "T")
    with pytest.raises(MixtureError, match="sum to 0.9, not to 1; fix the row"):
        normalize_rows(np.array([[0.4, 0.5]]), ["x"], "T")
