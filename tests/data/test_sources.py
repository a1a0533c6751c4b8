import gzip
import json
from pathlib import Path

import pandas as pd
import pytest
import toy
import zstandard

from mixopt.config.text import FilesTextConfig
from mixopt.data.corpus import fingerprint_text
from mixopt.data.document import is_held_out
from mixopt.data.sources import BLOCK_CHARACTERS, read_documents
from mixopt.data.text_files import describe_format, list_files
from mixopt.data.text_sample import TextSample
from mixopt.errors import DataError

ROWS = [{"text": f"document {i}", "page": str(i // 2)} for i in range(40)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def texts(path, **more):
    return [d.text for d in read_documents(FilesTextConfig(paths=[str(path)], **more))]


def test_every_format_gives_the_same_documents(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(LINES))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(LINES))
    pd.DataFrame(ROWS).to_parquet(tmp_path / "d.parquet")
    expected = [row["text"] for row in ROWS]
    for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.parquet"):
        assert texts(tmp_path / name) == expected, name


def test_long_plain_text_is_cut_at_line_ends_and_stays_one_group(tmp_path):
    line = "x" * 999 + "\n"
    (tmp_path / "long.txt").write_text(line * 2200)
    documents = list(read_documents(FilesTextConfig(paths=[str(tmp_path / "long.txt")])))
    assert len(documents) > 1
    assert "".join(d.text for d in documents) == line * 2200
    assert all(len(d.text) <= BLOCK_CHARACTERS + 1000 for d in documents)
    assert len({d.group for d in documents}) == 1


def test_split_of_plain_files_goes_with_them_when_they_are_moved(tmp_path):
    sides = []
    for place in ("here", "there/deep"):
        (tmp_path / place).mkdir(parents=True)
        for i in range(30):
            (tmp_path / place / f"{i}.txt").write_text(f"page number {i}")
        source = FilesTextConfig(
            paths=[str(tmp_path / place / "*.txt")], part="heldout", heldout_share=0.4
        )
        sides.append({d.text for d in read_documents(source)})
    assert sides[0] == sides[1]
    assert sides[0]


def test_split_puts_no_group_on_both_sides(tmp_path):
    path = toy.write_jsonl(tmp_path / "a.jsonl", ROWS)
    both = {
        part: list(read_documents(
                FilesTextConfig(paths=[str(path)], part=part, heldout_share=0.3, group="page")
            ))
        for part in ("train", "heldout")
    }  # fmt: skip
    groups = {part: {d.group for d in documents} for part, documents in both.items()}
    assert groups["train"] & groups["heldout"] == set()
    assert len(both["train"]) + len(both["heldout"]) == len(ROWS)
    assert both["heldout"]


def test_same_text_twice_stays_on_one_side(tmp_path):
    path = toy.write_jsonl(tmp_path / "a.jsonl", [{"text": f"t{i % 20}"} for i in range(60)])
    sides = [
        {
            d.text
            for d in read_documents(
                FilesTextConfig(paths=[str(path)], part=part, heldout_share=0.4)
            )
        }
        for part in ("train", "heldout")
    ]
    assert sides[0] & sides[1] == set()
    assert sides[1]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.jsonl",
            b'{"text": "x"}\n{"txt": "y"}\n',
            r"a.jsonl, line 2 has no field 'text'. Did you mean 'txt'",
        ),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", b'{"text": "\xff\xfe"}\n', "line 1 is not UTF-8"),
        ("a.jsonl", b'["x"]\n', "line 1 is not a JSON object"),
        ("a.jsonl", b'{"text": 3}\n', "field 'text' holds int, not text"),
        ("a.jsonl", b"", "a.jsonl is empty"),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:60], "not a whole compressed file"),
        ("a.jsonl.zst", b"not zstandard at all", "not a whole compressed file"),
        ("a.parquet", b"PAR1 broken", "not a Parquet file"),
        ("a.txt", b"caf\xe9", "a.txt is not UTF-8"),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        texts(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_fields_inside_json_text(tmp_path, ending):
    """Some datasets have their metadata as text, in lines of JSON and in Parquet alike."""
    metas = [{"lang": "en" if i % 2 else "de", "site": f"s{i % 3}"} for i in range(12)]
    found = [{"text": f"t{i}", "meta": json.dumps(meta)} for i, meta in enumerate(metas)]
    file = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pd.DataFrame(found).to_parquet(file)
    else:
        toy.write_jsonl(file, found)
    source = FilesTextConfig(
        paths=[str(file)], where={"meta.lang": "en"}, group="meta.site", part="all"
    )
    wanted = [(f"t{i}", f"s{i % 3}") for i in range(1, 12, 2)]
    assert [(d.text, d.group) for d in read_documents(source)] == wanted
    sample = TextSample(source, list_files(source), 10_000, seed=0)
    assert sorted((d.text, d.group) for d in sample.read()) == sorted(wanted)
    own = source.model_copy(update={"field": "meta.site", "where": None, "group": None})
    assert {d.text for d in read_documents(own)} == {"s0", "s1", "s2"}


def test_missing_files_and_columns(tmp_path):
    with pytest.raises(DataError, match="No file matches"):
        texts(tmp_path / "*.jsonl")
    pd.DataFrame(ROWS).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match="no column 'txt'. Did you mean 'text'"):
        texts(tmp_path / "d.parquet", field="txt")


@pytest.mark.parametrize(
    ("n", "words"), [(1, "its only document is"), (3, "all of its 3 documents are")]
)
def test_a_text_whose_documents_are_all_on_the_other_side_says_so(tmp_path, n, words):
    """It was said to hold no document."""
    path = tmp_path / "a.jsonl"
    for group in range(100):  # the first group that is held out
        path.write_text(
            "".join(json.dumps({"text": "x", "page": f"{group}"}) + "\n" for _ in range(n))
        )
        if _is_held(path):
            break
    with pytest.raises(
        DataError, match=rf"nothing on its train side: {words} on the held-out side"
    ):
        texts(path, group="page", part="train", heldout_share=0.5)


def _is_held(path):
    config = FilesTextConfig(paths=[str(path)], group="page", heldout_share=0.5)
    (group,) = {document.group for document in read_documents(config)}
    return is_held_out(group, config)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_the_byte_that_is_not_utf8_is_counted_from_the_beginning(tmp_path, pack):
    content = b"\xef\xbb\xbf" + b"a line of text\n" * 100_000
    place = 1_234_567
    ending = {bytes: "", gzip.compress: ".gz", zstandard.compress: ".zst"}[pack]
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(pack(content[:place] + b"\xe9" + content[place + 1 :]))
    with pytest.raises(DataError, match=rf"is not UTF-8 text \(byte {place}\)"):
        texts(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_byte_order_mark_is_no_text(tmp_path, pack):
    path = tmp_path / ("a.txt" if pack is bytes else "a.txt.gz")
    path.write_bytes(pack("\ufeffa\r\ntext".encode()))
    assert texts(path) == ["a\ntext"]
    # corpora of such files were made with the mark as text
    marked = describe_format(path)
    path.write_bytes(pack(b"a\r\ntext"))
    assert marked == describe_format(path) + ":mark"


def test_a_file_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    for name in ("a.txt", "a.jsonl.gz", "b"):
        (tmp_path / name).write_bytes(gzip.compress(LINES))

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(gzip, "GzipFile", refuse)
    for name in ("a.txt", "a.jsonl.gz", "b"):
        with pytest.raises(DataError, match=rf"{name} may not be read; change its permissions"):
            fingerprint_text(FilesTextConfig(paths=[str(tmp_path / name)]))


@pytest.mark.parametrize("empty", [None, ""])
def test_a_document_with_an_empty_group_is_its_own_group(tmp_path, empty):
    rows = [{"text": f"t{i}", "page": empty} for i in range(60)] + [{"text": "x", "page": 7}]
    path = toy.write_jsonl(tmp_path / "a.jsonl", rows)
    groups = [d.group for d in read_documents(FilesTextConfig(paths=[str(path)], group="page"))]
    assert groups == [row["text"] for row in rows[:60]] + ["7"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_zeros_after_json_lines_are_the_rest_of_a_hole(tmp_path, name):
    content = b'{"text": "x"}\n{"text": "y"}\0\0\n' + bytes(5000)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    source = FilesTextConfig(paths=[str(tmp_path / name)])
    assert [d.text for d in read_documents(source)] == ["x", "y"]
    sample = TextSample(source, [tmp_path / name], 1000, 0)
    assert [d.text for d in sample.read()] == ["x", "y"]
