import csv
import gzip
import io
import json

import pandas as pd
import pytest
import zstandard

from mixopt.config.text import FilesTextConfig
from mixopt.data import record_files
from mixopt.data.corpus import fingerprint_text
from mixopt.data.sources import read_documents
from mixopt.errors import DataError
from mixopt.io.parsing import load_json

ROWS = [{"text": f'document {i}, with "quotes",\nlines and é', "page": i} for i in range(40)]
TEXTS = [row["text"] for row in ROWS]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def texts(path, **more):
    return [d.text for d in read_documents(FilesTextConfig(paths=[str(path)], **more))]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("array.json", json.dumps(ROWS, indent=1)),
        ("one_line.json", json.dumps(ROWS, ensure_ascii=False)),
        ("bom.json", "\ufeff" + json.dumps(ROWS)),
        ("lines.json", LINES),
        ("lines.JSONL", LINES),
        ("array.jsonl", json.dumps(ROWS, indent=1)),
        ("one_line_array.jsonl", json.dumps(ROWS)),
        ("objects_over_lines.json", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
        ("array.json.gz", json.dumps(ROWS)),
        ("array.json.zst", json.dumps(ROWS)),
        ("lines.ndjson.gz", LINES),
    ],
)
@pytest.mark.parametrize("size", [7, 1 << 20])  # a record lies in several blocks, and in one
def test_json_is_read_by_content(tmp_path, monkeypatch, name, content, size):
    monkeypatch.setattr(record_files, "CHARACTERS", size)
    pack = {"gz": gzip.compress, "zst": zstandard.compress}.get(name.rsplit(".")[-1], bytes)
    (tmp_path / name).write_bytes(pack(content.encode()))
    assert texts(tmp_path / name) == TEXTS


@pytest.mark.parametrize(
    ("name", "mark"), [("a.csv", ","), ("a.CSV", ";"), ("a.tsv", "\t"), ("a.csv.gz", ",")]
)
def test_cells_of_the_text_column_are_the_documents(tmp_path, name, mark):
    with (tmp_path / "plain").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["page", "text"], delimiter=mark)
        writer.writeheader()
        writer.writerows(ROWS)
    content = (tmp_path / "plain").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert texts(tmp_path / name) == TEXTS


def test_long_cells_are_read(tmp_path):
    """The csv library stops at 128 KiB unless told."""
    (tmp_path / "a.csv").write_text("text\n" + "x" * 300_000 + "\n")
    assert texts(tmp_path / "a.csv") == ["x" * 300_000]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b'[{"text": "x"}, {"text": ', "a.json, record 2 is not JSON"),
        ("a.json", b'[{"text": "x"} {"text": "y"}]', "after record 1: no comma"),
        ("a.json", b'[{"text": "x"}', "ends within its JSON array"),
        ("a.json", b'[{"text": "x"}] []', "goes on after its JSON array"),
        ("a.json", b'["x"]', "record 1 is not a JSON object"),
        ("a.json", b'{"txt": "x"}', "record 1 has no field 'text'. Did you mean 'txt'"),
        ("a.json", b'{"text": "\xff"}', "not UTF-8"),
        ("a.json", b'{"text": "\\ud800"}', "half a character"),
        ("a.json", b"[" * 100_000, "not a JSON object"),
        ("a.json", b'{"a": ' * 100_000, "nested too deeply"),
        (
            "a.json.gz",
            gzip.compress(json.dumps(ROWS).encode(), mtime=0)[:60],
            "not a whole compressed",
        ),
        ("a.csv", b"id,body\n1,x\n", "row 1 has no field 'text'"),
        ("a.csv", b"id,text\n1,x,y\n", "row 1 has 3 cells, and the header 2"),
        ("a.csv", b'id,text\n1,"x\n', "not a CSV file"),
        ("a.csv", b"id,text\n1,\xff\n", "not UTF-8"),
        ("a.arrow", b"\xff", "an Arrow file; name its folder with `kind: huggingface`"),
        ("a.TAR", b"x", "an archive; unpack it"),
        ("a.tar.gz", gzip.compress(b"x", mtime=0), "an archive; unpack it"),
        ("a.warc.gz", gzip.compress(b"x", mtime=0), "a web archive; extract the text"),
        ("a.jsonl.lz4", b"x", "compressed by LZ4"),
        (
            "a.jsonl",
            gzip.compress(b"x", mtime=0),
            "a.jsonl is compressed by gzip; add .gz to its name",
        ),
        ("a.txt", b"PAR1", "a Parquet file; name it .parquet"),
        ("part-0", b"ARROW1", "an Arrow file; convert it to Parquet"),
        ("a.txt", b"SQLite format 3\0", "a database; write its text as JSONL"),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        texts(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_text_that_was_read_as_it_stands_has_another_key(tmp_path):
    """Otherwise a corpus of raw JSON would be used again."""
    keys = set()
    for name in ("a.json", "a.JSONL", "a.jsonl", "a.txt"):
        (tmp_path / name).write_text(LINES)
        keys.add(fingerprint_text(FilesTextConfig(paths=[str(tmp_path / name)])))
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("marked.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
        ("windows.jsonl", LINES.replace("\n", "\r\n\r\n").encode()),
        ("part-00000", LINES.encode()),
        ("part-00000.gz", gzip.compress(LINES.encode(), mtime=0)),
        ("lines.dat", b"\xef\xbb\xbf" + LINES.encode()),
        ("lines.jl", LINES.encode()),
        ("array", json.dumps(ROWS).encode()),
        ("bars.csv", pd.DataFrame(ROWS).to_csv(index=False, sep="|").encode()),
        ("excel.csv", b"sep=;\r\n" + pd.DataFrame(ROWS).to_csv(index=False, sep=";").encode()),
    ],
)  # fmt: skip
def test_records_under_any_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert texts(tmp_path / name) == [row["text"] for row in ROWS]


@pytest.mark.parametrize(
    "content",
    [
        "{not json}\n{}\n",
        '{"a": 1} is how a record looks.\n',
        '{"a": 1}\nThen prose.\n',
        "[1]\n",
        "{\n",
    ],
)
def test_prose_that_begins_like_json_stays_text(tmp_path, content):
    (tmp_path / "a").write_text(content)
    assert texts(tmp_path / "a") == [content]


def test_json_that_is_called_text_is_text_and_this_is_said(tmp_path, caplog):
    (tmp_path / "a.txt").write_text(LINES)
    assert texts(tmp_path / "a.txt") == [LINES]
    assert "a.txt holds lines of JSON and is read as plain text, as its name says" in caplog.text
    assert texts(tmp_path / "a.txt") == [LINES]
    assert caplog.text.count("holds lines of JSON") == 1


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_compressed_plain_text(tmp_path, pack):
    path = tmp_path / ("a.txt.gz" if pack is gzip.compress else "a.txt.zst")
    path.write_bytes(pack(b"plain text\n" * 3))
    assert texts(path) == ["plain text\n" * 3]
    path.write_bytes(pack(b"plain text\n" * 300)[:-8])
    with pytest.raises(DataError, match="not a whole compressed file"):
        texts(path)


RICH = [
    {"text": 'é "quoted" \\ \u2028 \U0001f600 ' * 3, "n": -1.25e-10, "big": 12345678901234567890},
    {
        "text": "",
        "yes": True,
        "no": False,
        "none": None,
        "list": [1, [2, {}], []],
        "in": {"a": {"b": 0}},
    },
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 17])
@pytest.mark.parametrize(
    "style", [{}, {"indent": 20}, {"separators": (",", ":")}, {"ensure_ascii": False}]
)
def test_records_may_be_cut_at_any_character(tmp_path, size, style):
    """A value at the end of what was read may go on, whatever it is."""
    rows = RICH * 2
    content = json.dumps(rows, **style).encode()
    found = list(record_files.read_json(io.BytesIO(content), tmp_path / "a.json", characters=size))
    assert [json.dumps(row) for _, row in found] == [
        json.dumps(load_json(json.dumps(r))) for r in rows
    ]


@pytest.mark.parametrize(
    "broken",
    ['{"text": "x" "y"}', '{"text": nothing at all, "y": 1}', '{"text": "a", , "b": 2, "c": 3}'],
)
def test_a_broken_record_is_told_before_the_rest_is_read(tmp_path, broken):
    content = (
        '[{"text": "x"}, ' + broken + ', {"text": "rest of a large file"}' * 100_000 + "]"
    ).encode()
    stream = io.BytesIO(content)
    with pytest.raises(DataError, match=r"a.json, record 2 is not JSON \(Expecting"):
        for _ in record_files.read_json(Unclosed(stream), tmp_path / "a.json", characters=4096):
            pass
    assert stream.tell() < 100_000


class Unclosed(io.BufferedReader):
    """Leaves its stream open, which tells how far it was read."""

    def close(self):
        self.detach()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.tsv", "text\nhello, world\n", ["hello, world"]),
        ("a.TSV", "text\nhello; a|b\n", ["hello; a|b"]),
        ("a.tsv", 'text\t"a, b, c"\nhello, world\tx\n', ["hello, world"]),
        ("a.tsv", "text,page\nhello world,x\n", ["hello world"]),
        ("a.csv", 'text,"a; b; c"\nhello; world,x\n', ["hello; world"]),
    ],
)
def test_the_name_tells_a_table_of_tabs_and_quotes_hide_marks(tmp_path, name, content, found):
    (tmp_path / name).write_text(content)
    assert texts(tmp_path / name) == found


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (record_files.read_json, json.dumps(ROWS, ensure_ascii=False, indent=1)),
        (record_files.read_json, "".join(json.dumps(row) + "\n" for row in ROWS)),
        (record_files.read_csv, 'page,text\n1,é\n2,"a\nb"\n\n3,c\n'),
    ],
)
def test_the_place_of_a_reader_is_the_end_of_its_record(tmp_path, read, content):
    place = record_files.Place()
    ends = [place.n_bytes for _ in read(io.BytesIO(content.encode()), tmp_path / "a", place=place)]
    assert ends == sorted(set(ends))
    rest = [content.encode()[end:].decode().strip() for end in ends]
    for text in rest[:-1]:
        assert text[0] in ",{123"
    assert rest[-1] in ("", "]")
