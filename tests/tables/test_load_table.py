import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.load_table import load_table

TABLE = pd.DataFrame({"run": ["x", "y"], "a": [0.25, 1.0], "b": [0.75, 0.0]})


def test_files_and_frames_have_the_same_rows_and_a_name(tmp_path):
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    for table, name in ((TABLE, "The ratios table"), (tmp_path / "t.csv", str(tmp_path / "t.csv"))):
        frame, where = load_table(table, "ratios")
        assert frame.to_dict("list") == TABLE.to_dict("list")
        assert where == name
    with pytest.raises(TrialsError, match="ratios is 3; give a file or a pandas DataFrame"):
        load_table(3, "ratios")


def test_names_of_rows_without_a_header_name_runs_where_nothing_else_does():
    unnamed = TABLE.rename(columns={"run": "Unnamed: 0"})
    assert list(load_table(unnamed, "ratios").frame.columns) == ["run", "a", "b"]
    kept = load_table(unnamed.assign(id=[1, 2]), "ratios").frame
    assert list(kept.columns) == ["Unnamed: 0", "a", "b", "id"]


def test_a_frame_with_two_columns_of_one_name_is_told():
    with pytest.raises(
        TrialsError, match="The ratios table has two columns called 'a'; rename one"
    ):
        load_table(TABLE.set_axis(["run", "a", "a"], axis="columns"), "ratios")


def test_the_levels_of_columns_are_joined():
    frame = TABLE.set_axis(
        pd.MultiIndex.from_tuples([("run", ""), ("ratio", "a"), ("ratio", "b")]), axis="columns"
    )
    assert list(load_table(frame, "ratios").frame.columns) == ["run", "ratio/a", "ratio/b"]
