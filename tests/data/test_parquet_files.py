import pandas as pd
import pytest

from mixopt.data.parquet_files import open_parquet, read_batches, read_parquet
from mixopt.errors import DataError


@pytest.fixture
def file(tmp_path):
    pd.DataFrame({"text": [f"t{i}" for i in range(10)], "n": range(10)}).to_parquet(
        tmp_path / "a.parquet", row_group_size=4
    )
    return tmp_path / "a.parquet"


def test_rows_have_their_place(file):
    rows = list(read_parquet(file, ["text"]))
    assert rows[2] == (f"{file}, row 3", {"text": "t2"})
    assert len(rows) == 10


def test_batches_of_a_row_group(file):
    table = open_parquet(file, ["text"])
    batches = table.iter_batches(row_groups=[1], columns=["text"])
    rows = [row["text"] for _, row in read_batches(batches, file)]
    assert rows == ["t4", "t5", "t6", "t7"]


def test_a_file_that_is_none(file, tmp_path):
    with pytest.raises(DataError, match="no column 'txt'. Did you mean 'text'"):
        open_parquet(file, ["txt"])
    with pytest.raises(DataError, match="does not exist"):
        open_parquet(tmp_path / "b.parquet", None)
