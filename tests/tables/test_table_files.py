"""Every format of a table gives the same rows, and what is no table is refused in one sentence."""

import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.table_files import read_file

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
    assert read_file(path, "ratios").to_dict("list") == TABLE.to_dict("list")


def test_broken_files_are_told_in_one_sentence(tmp_path):
    for name in ("t.parquet", "t.json", "t.csv"):
        (tmp_path / name).write_bytes(b"\x00\xff{" if name != "t.csv" else b"")
        with pytest.raises(TrialsError, match="cannot be read as") as caught:
            read_file(tmp_path / name, "ratios")
        assert "\n" not in str(caught.value)
