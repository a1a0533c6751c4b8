"""Files of a text are found once each, told by name and content, and hashed."""

import gzip
import io
import json
import tarfile

import pytest

from mixopt.config.text import FilesTextConfig
from mixopt.data.sources import read_documents
from mixopt.data.text_files import (
    PROBED_BYTES,
    describe_format,
    find_format,
    identify_file,
    list_files,
)
from mixopt.data.text_sample import TextSample
from mixopt.errors import DataError

ROW = json.dumps({"text": "x"}).encode()
WRAPPED = json.dumps({"version": 1, "data": [{"text": "x"}, {"text": "y"}]}, indent=2).encode()


def test_globs_take_each_file_once_in_order(tmp_path):
    for name in "ba":
        (tmp_path / f"{name}.txt").write_text(name)
    pattern = str(tmp_path / "*.txt")
    assert [file.name for file in list_files(FilesTextConfig(paths=[pattern, pattern]))] == [
        "a.txt", "b.txt",
    ]  # fmt: skip


def test_a_file_and_links_to_it_count_once(tmp_path, caplog):
    (tmp_path / "2024").mkdir()
    for name in ("a.jsonl", "2024/b.jsonl"):
        (tmp_path / name).write_bytes(ROW)
    (tmp_path / "latest.jsonl").symlink_to("a.jsonl")
    (tmp_path / "now").symlink_to("2024", target_is_directory=True)
    source = FilesTextConfig(paths=[str(tmp_path / "*.jsonl"), str(tmp_path / "*" / "*.jsonl")])
    for _ in range(2):
        assert list_files(source) == [tmp_path / "a.jsonl", tmp_path / "2024" / "b.jsonl"]
    told = f"{tmp_path / 'latest.jsonl'} is the same file as {tmp_path / 'a.jsonl'} and is left out"
    assert caplog.messages == [f"{told} (and 1 more such)."]


def test_a_glob_without_files_and_an_empty_file(tmp_path):
    with pytest.raises(DataError, match="No file matches .*jsonl; fix"):
        list_files(FilesTextConfig(paths=[str(tmp_path / "*.jsonl")]))
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match="a.txt is empty"):
        list_files(FilesTextConfig(paths=[str(tmp_path / "a.txt")]))


@pytest.mark.parametrize(
    ("name", "content", "format", "described"),
    [
        ("a.jsonl", ROW, "jsonl", ".jsonl"),
        ("a.JSONL", ROW, "jsonl", ".JSONL:jsonl"),
        ("a.jsonl.gz", gzip.compress(b"[" + ROW + b"]", mtime=0), "json", ".jsonl.gz:json"),
        ("a.json", ROW, "json", ".json:json"),
        ("a.json.gz", gzip.compress(ROW + b"\n" + ROW, mtime=0), "jsonl", ".json.gz"),
        ("a.json.gz", gzip.compress(b'{"data": [' + ROW + b"]}", mtime=0), "jsonl", ".json.gz"),
        ("a.json.gz", gzip.compress(WRAPPED, mtime=0), "json", ".json.gz:json"),
        ("a.tsv", b"text\nx\n", "csv", ".tsv:csv"),
        ("a.parquet", b"PAR1", "parquet", ".parquet"),
        ("a.md", b"x", "plain", ".md"),
        ("a.txt", ROW + b"\n" + ROW, "plain", ".txt"),
        ("a.txt", b"SQLite is a library", "plain", ".txt"),
        ("part-00000", ROW, "jsonl", ":jsonl"),
    ],
)
def test_formats(tmp_path, name, content, format, described):
    file = tmp_path / name
    file.write_bytes(content)
    assert find_format(file) == format
    assert describe_format(file) == described


def test_a_large_plain_file_is_told_by_pieces_spread_over_it(tmp_path):
    file = tmp_path / "a.txt"
    with file.open("wb") as stream:
        stream.truncate(PROBED_BYTES + 1)
    before = identify_file(file)
    assert describe_format(file) == ".txt:probed"
    with file.open("r+b") as stream:
        stream.write(b"x")
    assert identify_file(file) != before


def test_a_wrapper_over_several_lines_is_read_packed_too(tmp_path):
    for name, content in (("a.json", WRAPPED), ("a.json.gz", gzip.compress(WRAPPED))):
        (tmp_path / name).write_bytes(content)
        source = FilesTextConfig(paths=[str(tmp_path / name)], part="all")
        assert [document.text for document in read_documents(source)] == ["x", "y"]
        sample = TextSample(source, list_files(source), 100, seed=0)
        assert [document.text for document in sample.read()] == ["x", "y"]


@pytest.mark.parametrize("name", ["data.txt", "data", "data.jsonl", "data.txt.gz"])
@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_is_refused_under_any_name(tmp_path, name, kind):
    (tmp_path / "page").write_text("some text\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=kind) as archive:
        archive.add(tmp_path / "page", "page")
    content = packed.getvalue()
    file = tmp_path / name
    file.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(DataError, match=f"{name} is an archive; unpack it"):
        find_format(file)
