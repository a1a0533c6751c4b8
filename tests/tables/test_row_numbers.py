import pandas as pd

from mixopt.tables.frame import read_table

TABLE = pd.DataFrame({"run": ["x", "y"], "a": [0.25, 1.0], "b": [0.75, 0.0]})


def test_row_numbers_written_twice_and_spacers_are_dropped(tmp_path, caplog):
    caplog.set_level("INFO")
    sorted_rows = TABLE.iloc[::-1]
    sorted_rows.to_csv(tmp_path / "once.csv")
    again = pd.read_csv(tmp_path / "once.csv")
    again.to_csv(tmp_path / "twice.csv")
    assert list(read_table(tmp_path / "twice.csv", "ratios").frame.columns) == ["a", "b"]
    (tmp_path / "first.csv").write_text(",run,a,b\n,x,0.25,0.75\n,y,1,0\n")
    assert list(read_table(tmp_path / "first.csv", "ratios").frame.columns) == ["a", "b"]
    (tmp_path / "spaced.csv").write_text("run,,a,,b\nx,,0.25,1,0.75\ny,,1,0,0\n")
    assert list(read_table(tmp_path / "spaced.csv", "ratios").frame.columns) == ["a", "b"]
    assert "2 columns without a name that are empty or number the rows are left out" in caplog.text


def test_a_column_without_a_name_that_holds_numbers_stays(tmp_path):
    (tmp_path / "t.csv").write_text("run,a,,b\nx,0.25,0.5,0.25\ny,1,0,0\n")
    assert list(read_table(tmp_path / "t.csv", "ratios").frame.columns) == ["a", "Unnamed: 2", "b"]
