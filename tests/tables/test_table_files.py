"""Every format of a table gives the same rows, and what is no table is refused in one sentence."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
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


def write_arrow(table, path, writer):
    with pa.OSFile(str(path), "wb") as sink, writer(sink, table.schema) as out:
        out.write_table(table)


@pytest.mark.parametrize("name", ["t.feather", "t.arrow", "t.ipc", "t.csv", "t.parquet"])
@pytest.mark.parametrize("format", ["file", "stream", "parquet"])
def test_binary_tables_are_told_by_their_content(tmp_path, name, format):
    table, path = pa.Table.from_pandas(TABLE), tmp_path / name
    if format == "parquet":
        TABLE.to_parquet(path)
    else:
        write_arrow(table, path, {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}[format])
    assert read_file(path, "ratios").to_dict("list") == TABLE.to_dict("list")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.xlsx", b"PK\x03\x04", "is an Excel workbook; save its sheet as CSV"),
        ("t.csv", b"PK\x03\x04", "is an archive; unpack it"),
        ("t.csv", b"\x1f\x8b\x08", r"is compressed by gzip; name it t.csv.gz"),
        ("t.pkl", b"\x80\x04", "is a pickle, which can run code; save the frame by to_parquet"),
        ("runs", b"SQLite format 3", "is a database; save the table as CSV"),
        ("t.csv.xz", b"\xfd7zXZ", "is compressed by xz; unpack it"),
    ],
)
def test_other_formats_are_named_with_what_to_do(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TrialsError, match=words):
        read_file(tmp_path / name, "runs")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            '"run","acc","loss"\n"0",0,0.564,3.637\n"1",1,0.5,3\n',
            "row 1: 4 cells, .*row.names=FALSE",
        ),
        (
            "run,acc,loss\nx,0.5,3.1\n\ny,0,564,3.637\n",
            "row 2: 4 cells, .* quote numbers with a decimal comma",
        ),
        ("run,acc,loss\n" + "x,0.5,3.1,note\n", "names 3 columns; name each column"),
    ],
)
def test_cells_beyond_the_header_are_told(tmp_path, content, words):
    """pandas drops them, and takes the cells before for those of other columns."""
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(TrialsError, match=words):
        read_file(tmp_path / "t.csv", "metrics")


def test_empty_cells_beyond_the_header_and_short_rows_are_none(tmp_path):
    (tmp_path / "t.csv").write_text('run,a,b,,\nx,0.25,0.75,,\n,,,, \n"y\nz",1.0\n')
    frame = read_file(tmp_path / "t.csv", "ratios")
    assert list(frame.columns) == ["run", "a", "b"]
    assert list(frame["run"]) == ["x", "y\nz"]


def test_line_ends_of_the_macintosh(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"run,a,b\rx,0.25,0.75\ry,1.0,0.0\r")
    assert read_file(tmp_path / "t.csv", "ratios").to_dict("list") == TABLE.to_dict("list")


def test_a_long_field_in_the_first_line(tmp_path):
    (tmp_path / "t.csv").write_text(f"run,a,{'b' * 200_000}\nx,0.25,0.75\n")
    assert list(read_file(tmp_path / "t.csv", "ratios").columns)[:2] == ["run", "a"]


def test_names_that_pandas_takes_for_missing_cells(tmp_path):
    """`NA` may be North America, and a run may be called None."""
    (tmp_path / "t.csv").write_text("run,a,NA,null\nNone,0.25,0.5,0.25\nN/A,NA,0.75,0.25\n")
    frame = read_file(tmp_path / "t.csv", "ratios")
    assert list(frame.columns) == ["run", "a", "NA", "null"]
    assert list(frame["run"]) == ["None", "N/A"]
    assert frame["a"].isna().tolist() == [False, True]


def test_a_folder_and_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    assert len(read_file(Path("~/t.csv"), "ratios")) == 2
    with pytest.raises(TrialsError, match="is a folder; give the file in it with the runs"):
        read_file(tmp_path, "runs")
