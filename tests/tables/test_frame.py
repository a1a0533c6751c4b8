import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.frame import check_ids, read_table

TABLE = pd.DataFrame({"run": ["x", "y"], "a": [0.25, 1.0], "b": [0.75, 0.0]})


def test_a_table_is_indexed_by_its_ids_and_named(tmp_path):
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    frame, where, begun = read_table(tmp_path / "t.csv", "ratios")
    assert frame.loc["x"].tolist() == [0.25, 0.75]
    assert where == str(tmp_path / "t.csv")
    assert list(begun.index) == ["x", "y"]
    assert read_table(TABLE, "ratios").where == "The ratios table"


def numbered(ids):
    return pd.DataFrame({"x": range(len(ids))}, index=list(ids))


def test_ids_that_start_at_another_number_are_explained():
    with pytest.raises(TrialsError, match="numbered from 0 and those of the other from 1"):
        check_ids(numbered([0, 1, 2]), "A", numbered([1, 2, 3]), "B")
    with pytest.raises(TrialsError, match="2 runs are in one table only"):
        check_ids(numbered([0, 1, 2]), "A", numbered([0, 1, 7]), "B")


def test_an_index_that_the_user_names_names_the_runs():
    frame = TABLE.set_index("run").rename_axis("experiment")
    assert list(read_table(frame, "ratios", "experiment").frame.index) == ["x", "y"]


def test_costs_have_any_case():
    frame = TABLE.assign(**{"GPU Hours": 1.0, "FLOPs": 2.0})
    assert list(read_table(frame, "metrics").frame.columns) == ["a", "b", "gpu_hours", "flops"]
    kept = read_table(frame, "metrics", ignore=["FLOPs"]).frame
    assert list(kept.columns) == ["a", "b", "gpu_hours", "FLOPs"]
