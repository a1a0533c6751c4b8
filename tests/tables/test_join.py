import numpy as np
import pandas as pd
import pytest

from mixopt.errors import MixtureError, TrialsError
from mixopt.tables.join import check_ids, normalize_rows


def frame(ids):
    return pd.DataFrame({"x": range(len(ids))}, index=list(ids))


def test_ids_that_start_at_another_number_are_explained():
    with pytest.raises(TrialsError, match="numbered from 0 and those of the other from 1"):
        check_ids(frame([0, 1, 2]), "A", frame([1, 2, 3]), "B")
    with pytest.raises(TrialsError, match="2 runs are in one table only"):
        check_ids(frame([0, 1, 2]), "A", frame([0, 1, 7]), "B")


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
