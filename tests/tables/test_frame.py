import numpy as np
import pandas as pd
import pytest

from mixopt.errors import MixtureError, TrialsError
from mixopt.tables.frame import (
    check_ids,
    drop_infinite,
    normalize_rows,
    read_table,
    require_numbers,
)

TABLE = pd.DataFrame({"run": ["x", "y"], "a": [0.25, 1.0], "b": [0.75, 0.0]})


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet", "t.json", "t.jsonl"])
def test_every_format_reads_the_same(tmp_path, name):
    path = tmp_path / name
    if name.endswith("parquet"):
        TABLE.to_parquet(path)
    elif "json" in name:
        TABLE.to_json(path, orient="records", lines=name.endswith("l"))
    else:
        TABLE.to_csv(path, index=False, sep="\t" if name.endswith("tsv") else ",")
    frame, where = read_table(path, "ratios")
    assert frame.loc["x"].tolist() == [0.25, 0.75]
    assert where == str(path)


def test_broken_files_are_told_in_one_sentence(tmp_path):
    for name in ("t.parquet", "t.json", "t.csv"):
        (tmp_path / name).write_bytes(b"\x00\xff{" if name != "t.csv" else b"")
        with pytest.raises(TrialsError, match="cannot be read as") as caught:
            read_table(tmp_path / name, "ratios")
        assert "\n" not in str(caught.value)


def test_infinite_cells_are_missing_and_said(caplog):
    frame = pd.DataFrame({"loss": [1.0, np.inf, -np.inf]}, index=["x", "y", "z"])
    assert drop_infinite(frame, "T")["loss"].isna().tolist() == [False, True, True]
    assert "2 infinite cells (run y, column 'loss', ...)" in caplog.text


def test_cells_that_are_no_numbers_are_named():
    frame = pd.DataFrame({"loss": ["1.5", "high"]}, index=["x", "y"])
    with pytest.raises(TrialsError, match="run y, column 'loss': 'high' is not a number"):
        require_numbers(frame, "T")


def numbered(ids):
    return pd.DataFrame({"x": range(len(ids))}, index=list(ids))


def test_ids_that_start_at_another_number_are_explained():
    with pytest.raises(TrialsError, match="numbered from 0 and those of the other from 1"):
        check_ids(numbered([0, 1, 2]), "A", numbered([1, 2, 3]), "B")
    with pytest.raises(TrialsError, match="2 runs are in one table only"):
        check_ids(numbered([0, 1, 2]), "A", numbered([0, 1, 7]), "B")


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
