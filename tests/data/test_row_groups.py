import pandas as pd
import pytest

from mixopt.data import row_groups
from mixopt.data.row_groups import RowGroups
from mixopt.errors import DataError


def write(folder, n_groups, rows=400):
    frame = pd.DataFrame({"text": [f"{i:>50}" for i in range(rows)]})
    frame.to_parquet(folder / "a.parquet", row_group_size=rows // n_groups)
    return folder / "a.parquet"


def read(table, group, before, n_bytes):
    found = list(table.read(group, before, n_bytes))
    start = sum(map(table.count_rows, range(group)))
    for place, (where, row) in found:
        assert int(row["text"]) == start + place
        assert where.endswith(f"row {start + place + 1}")
    return [place for place, _ in found]


def test_rows_all_over_few_row_groups_are_read_once(tmp_path):
    table = RowGroups(write(tmp_path, 2), ["text"], seed=0)
    table.set_reach(1, 1, 0)
    first = read(table, 1, 0, 1000)
    assert 10 < len(first) < 40
    assert min(first) < 30
    assert max(first) > 170
    assert not table.is_cut(1)
    more = read(table, 1, len(first), 1000)
    rest = read(table, 1, len(first) + len(more), 1e9)
    assert sorted(first + more + rest) == list(range(200))
    assert read(table, 1, 200, 1e9) == []


def test_of_many_row_groups_the_beginnings_are_read(tmp_path):
    table = RowGroups(write(tmp_path, 20), ["text"], seed=0)
    table.set_reach(1, 1, 0)
    assert read(table, 3, 0, 300) == list(range(len(read(table, 3, 0, 300))))
    assert not table.is_cut(3)


def test_what_is_decoded_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(row_groups, "DECODED", 5000)
    monkeypatch.setattr(row_groups, "HELD", 300)
    table = RowGroups(write(tmp_path, 1), ["text"], seed=0)
    table.set_reach(1, 1, 0)
    first = read(table, 0, 0, 2000)
    assert table.is_cut(0)
    assert 50 < max(first) < 150
    assert sorted(first + read(table, 0, len(first), 1e9)) == list(range(400))
    table.set_reach(1, 1, 1e9)  # a sample that wants more decodes more
    assert not table.is_cut(0)


def test_a_column_that_is_missing(tmp_path):
    with pytest.raises(DataError, match="no column 'txt'. Did you mean 'text'"):
        RowGroups(write(tmp_path, 1), ["txt"], seed=0)
