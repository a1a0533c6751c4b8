import pandas as pd
import pytest

from mixopt.data.parquet_files import (
    count_column_bytes,
    find_columns,
    open_parquet,
    read_batches,
    read_parquet,
    read_rows,
)
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


def test_rows_of_a_row_group_come_in_the_order_that_is_asked(file):
    table = open_parquet(file, ["text"])
    rows = list(read_rows(table, file, 1, ["text"], [3, 0]))
    assert rows == [(f"{file}, row 8", {"text": "t7"}), (f"{file}, row 5", {"text": "t4"})]
    assert list(read_rows(table, file, 1, ["text"], [])) == []
    sizes = [count_column_bytes(table, 1, columns) for columns in (["text"], ["n"], None)]
    assert min(sizes) > 0
    assert sum(sizes[:2]) == sizes[2]


def test_a_file_that_is_none(file, tmp_path):
    with pytest.raises(DataError, match="no column 'txt'. Did you mean 'text'"):
        open_parquet(file, ["txt"])
    with pytest.raises(DataError, match="does not exist"):
        open_parquet(tmp_path / "b.parquet", None)


def test_paths_into_json_text_are_read_from_its_column(tmp_path):
    file = tmp_path / "a.parquet"
    rows = [{"text": "x", "meta": '{"lang": "en"}', "deep": {"json": '{"a": {"b": 1}}', "n": 2}}]
    pd.DataFrame(rows).to_parquet(file)
    wanted = ["text", "meta.lang", "meta", "deep.json.a.b", "deep.n"]
    table = open_parquet(file, wanted)
    assert find_columns(table, wanted) == ["text", "meta", "deep.json", "deep.n"]
    assert find_columns(table, None) is None
    assert [row for _, row in read_parquet(file, wanted)] == rows
    for name, hint in (("deep.n.a", "Did you mean 'deep.n'"), ("mta.lang", "Known: deep, ")):
        with pytest.raises(DataError, match=f"no column '{name}'. {hint}"):
            open_parquet(file, [name])
