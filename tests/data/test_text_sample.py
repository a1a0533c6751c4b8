"""A text larger than a study can use is read as a sample of documents spread over all of it."""

import gzip
import io
import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zstandard

from mixopt.config.text import FilesTextConfig
from mixopt.data import row_groups
from mixopt.data.document import is_held_out
from mixopt.data.sample import WHOLE_BYTES
from mixopt.data.sources import read_documents
from mixopt.data.text_files import identify_file
from mixopt.data.text_sample import find_sample
from mixopt.errors import DataError

TIB = 1 << 40


def rows(name, n, seed=0):
    rng = random.Random(f"{name} {seed}")
    return [{"text": f"{name} {i} " + "word " * int(rng.lognormvariate(3, 1)), "page": str(i // 3)}
            for i in range(n)]  # fmt: skip


def lines(found):
    return "".join(json.dumps(row) + "\n" for row in found).encode()


def write(folder, name, content):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


def sample_of(folder, tokens=20_000, seed=0, **more):
    return find_sample(FilesTextConfig(paths=[str(folder / "*")], **more), tokens, seed)


def estimate(sample, most=10**9):
    """The estimate where a token is a word."""
    tokens, count = {}, 0
    for document in sample.read():
        if sum(tokens.values()) >= most:
            break
        tokens[document.part] = tokens.get(document.part, 0) + len(document.text.split())
        count += 1
    return sample.estimate(count, tokens)


@pytest.fixture
def counted(monkeypatch):
    """Counts the bytes that are read from files."""
    read = [0]

    class Counting(io.FileIO):
        def readinto(self, buffer):
            n = super().readinto(buffer)
            read[0] += n
            return n

    original = Path.open

    def open_counted(path, mode="r", *args, **more):
        return (
            io.BufferedReader(Counting(path))
            if mode == "rb"
            else original(path, mode, *args, **more)
        )

    monkeypatch.setattr(Path, "open", open_counted)
    return read


def test_a_terabyte_costs_what_its_sample_costs(tmp_path, counted):
    """Three sparse files of a TiB, with text at the beginning, in the middle and at the end."""
    n_words = 0
    for name in "abc":
        with (tmp_path / f"{name}.jsonl").open("wb") as stream:
            for number, at in enumerate((0, TIB // 2, TIB - (2 << 20))):
                stream.seek(at)
                found = rows(name, 4000, number)
                n_words += sum(len(row["text"].split()) for row in found)
                stream.write(b"\n" + lines(found) if at else lines(found))
            stream.truncate(TIB)
    if (tmp_path / "a.jsonl").stat().st_blocks * 512 > TIB // 2:
        pytest.skip("the disk has no sparse files")
    counted[0] = 0
    sample = sample_of(tmp_path, tokens=50_000)
    documents = list(sample.read())
    assert {(d.text[0]) for d in documents} == {"a", "b", "c"}
    assert counted[0] < 4 * 6 * 50_000
    found = estimate(sample, 50_000)
    assert found.tokens == pytest.approx(n_words, abs=3 * found.std_error)
    assert found.std_error < 0.1 * n_words
    assert found.total_bytes < 20 << 20  # holes hold no text


def test_of_many_files_a_few_parts_are_read(tmp_path, counted):
    block = lines(rows("x", 2000))
    for number in range(200):
        write(tmp_path / "d", f"{number:03}.jsonl", block)
    sample = sample_of(tmp_path / "d", tokens=10_000)
    counted[0] = 0
    n_characters = sum(len(document.text) for document in sample.read())
    assert 6 * 10_000 <= n_characters < 7 * 10_000
    assert counted[0] < 200 * len(block) / 20


def test_a_small_text_is_read_whole(tmp_path):
    content = lines(rows("x", 100))
    write(tmp_path / "d", "a.jsonl", content)
    assert sample_of(tmp_path / "d", tokens=-(-len(content) // WHOLE_BYTES)) is None
    assert sample_of(tmp_path / "d", tokens=len(content) // WHOLE_BYTES - 1) is not None


def test_same_seed_and_files_same_sample(tmp_path):
    for name in "abcd":
        write(tmp_path / "d", f"{name}.jsonl", lines(rows(name, 800)))
    one, again, other = (sample_of(tmp_path / "d", 5000, seed) for seed in (3, 3, 4))
    assert list(one.read()) == list(again.read()) == list(one.read())
    assert {d.text for d in one.read()} != {d.text for d in other.read()}
    prints = [one.compute_fingerprint(), again.compute_fingerprint(), other.compute_fingerprint()]
    assert prints[0] == prints[1] != prints[2]
    assert sample_of(tmp_path / "d", 5001, 3).compute_fingerprint() != prints[0]
    (tmp_path / "d").rename(tmp_path / "moved")
    assert sample_of(tmp_path / "moved", 5000, 3).compute_fingerprint() == prints[0]
    with (tmp_path / "moved" / "b.jsonl").open("ab") as stream:
        stream.write(lines(rows("more", 1)))
    assert sample_of(tmp_path / "moved", 5000, 3).compute_fingerprint() != prints[0]


FORMATS = {
    "jsonl": lines,
    "json": lambda found: json.dumps(found).encode(),
    "ndjson": lines,
    "json.gz": lambda found: gzip.compress(json.dumps(found).encode()),
    "jsonl.gz": lambda found: gzip.compress(lines(found)),
    "jsonl.zst": lambda found: zstandard.compress(lines(found)),
    "csv": lambda found: pd.DataFrame(found).to_csv(index=False).encode(),
    "csv.gz": lambda found: gzip.compress(pd.DataFrame(found).to_csv(index=False).encode()),
}


@pytest.mark.parametrize("ending", [*FORMATS, "parquet"])
def test_every_format_is_read_once_and_to_its_end(tmp_path, ending):
    for name in "abc":
        found = rows(name, 700)
        if ending == "parquet":
            (tmp_path / "d").mkdir(exist_ok=True)
            pd.DataFrame(found).to_parquet(tmp_path / "d" / f"{name}.parquet", row_group_size=90)
        else:
            write(tmp_path / "d", f"{name}.{ending}", FORMATS[ending](found))
    sample = sample_of(tmp_path / "d", tokens=3000)
    whole = [d.text for d in read_documents(sample.source)]
    read = [d.text for d in sample._read_parts()]
    assert sorted(read) == sorted(whole)
    first = [text[0] for text in read[: len(read) // 8]]
    assert {first.count(name) > 3 for name in "abc"} == {True}
    # a document of another place than the beginning is among the first
    assert max(int(text.split()[1]) for text in read[: len(read) // 8]) > 50


@pytest.mark.parametrize(
    "ending",
    ["jsonl", "jsonl.gz", "json", "json.gz", "csv", "csv.gz", "parquet", "txt"],
)
def test_the_error_of_the_estimate_is_the_right_size(tmp_path, ending):
    n_words = 0
    for number in range(24):
        found = rows(f"{'x' * (1 + number % 5)}{number}", 500)
        n_words += sum(len(row["text"].split()) for row in found)
        if ending == "parquet":
            (tmp_path / "d").mkdir(exist_ok=True)
            pd.DataFrame(found).to_parquet(tmp_path / "d" / f"{number}.parquet", row_group_size=50)
        elif ending == "txt":
            # files of several blocks each
            text = "".join(row["text"] + "\n" for row in found * 25)
            write(tmp_path / "d", f"{number}.txt", text.encode())
        else:
            if not ending.startswith("jsonl"):  # of a beginning, later rows have longer numbers
                random.Random(number).shuffle(found)
            write(tmp_path / "d", f"{number}.{ending}", FORMATS[ending](found))
    n_words *= 25 if ending == "txt" else 1
    away = []
    for seed in range(25):
        sample = find_sample(FilesTextConfig(paths=[str(tmp_path / "d" / "*")]), 15_000, seed)
        found = estimate(sample, 15_000)
        assert found.tokens == pytest.approx(n_words, rel=0.35)
        away.append((found.tokens - n_words) / found.std_error)
    assert np.sqrt(np.mean(np.square(away))) < 1.6
    assert np.mean(np.abs(away)) > 0.15


@pytest.mark.parametrize("n_files", [8, 1])
def test_rows_all_over_a_single_row_group_are_read(tmp_path, n_files):
    """pandas and others write one row group a file, whose rows may be sorted."""
    n_words = 0
    for number in range(n_files):
        lengths = sorted(map(int, np.random.default_rng(number).lognormal(3, 1, 16_000 // n_files)))
        n_words += sum(lengths)
        frame = pd.DataFrame({"text": [f"{i} " + "word " * n for i, n in enumerate(lengths, 1)]})
        frame.to_parquet(tmp_path / f"{number}.parquet")
        n_words += len(frame)
    texts = set()
    for seed in range(8):
        sample = sample_of(tmp_path, 15_000, seed)
        found = estimate(sample, 15_000)
        assert found.tokens == pytest.approx(n_words, abs=3 * found.std_error)
        assert found.tokens == pytest.approx(n_words, rel=0.25)
        assert not found.remark
        texts |= {document.text for document in sample.read()}
    assert max(map(len, texts)) > 500


def test_of_row_groups_too_large_to_be_decoded_a_beginning_is_read_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(row_groups, "DECODED", 1 << 18)
    rows_of_file = [{"text": f"{i} " + "word " * 40} for i in range(4000)]
    pd.DataFrame(rows_of_file).to_parquet(tmp_path / "a.parquet")
    sample = sample_of(tmp_path, 5000)
    first = [int(document.text.split()[0]) for document in sample.read()]
    assert 200 < max(first) < 3000
    found = estimate(sample, 5000)
    assert found.std_error is None
    assert "a.parquet can only be read from the beginning" in found.remark
    everything = [document.text for document in sample._read_parts()]
    assert sorted(everything) == sorted(row["text"] for row in rows_of_file)


def test_a_sample_of_everything_is_exact(tmp_path):
    found = rows("x", 900)
    write(tmp_path / "d", "a.jsonl", lines(found))
    sample = sample_of(tmp_path / "d", tokens=len(lines(found)) // 5)
    answer = estimate(sample)
    assert (answer.tokens, answer.std_error) == (sum(len(r["text"].split()) for r in found), 0.0)


def test_sides_of_the_split_are_those_of_the_whole_text(tmp_path):
    for name in "ab":
        write(tmp_path / "d", f"{name}.jsonl", lines(rows(name, 900)))
    split = {"group": "page", "heldout_share": 0.3}
    sides = {
        part: {d.group for d in sample_of(tmp_path / "d", 4000, part=part, **split).read()}
        for part in ("train", "heldout")
    }
    source = FilesTextConfig(paths=[str(tmp_path / "d" / "*")], part="heldout", **split)
    assert sides["heldout"] <= {d.group for d in read_documents(source)}
    assert not sides["heldout"] & sides["train"]
    # the estimate is of one side
    whole = estimate(sample_of(tmp_path / "d", 4000))
    train = estimate(sample_of(tmp_path / "d", 4000, part="train", **split))
    assert train.tokens / whole.tokens == pytest.approx(0.7, abs=0.1)


def test_records_that_do_not_match_are_passed_over(tmp_path):
    found = [row | {"meta": {"source": "rare" if i % 40 == 0 else "web"}}
             for i, row in enumerate(rows("x", 4000))]  # fmt: skip
    for ending in ("jsonl", "jsonl.gz"):
        folder = tmp_path / ending
        write(folder, f"a.{ending}", FORMATS[ending](found))
        sample = sample_of(folder, 1000, where={"meta.source": "rare"})
        texts = [d.text for d in sample.read()]
        assert sum(map(len, texts)) >= 6000 or len(texts) == 100
        assert all(int(text.split()[1]) % 40 == 0 for text in texts)
        rare = sum(len(row["text"].split()) for row in found[::40])
        assert estimate(sample).tokens == pytest.approx(rare, rel=0.35)
    with pytest.raises(DataError, match="has no document that matches `where`"):
        list(sample_of(folder, 1000, where={"meta.source": "none"}).read())


def test_one_huge_compressed_file_is_said(tmp_path):
    content = lines(rows("x", 9000))
    write(tmp_path / "d", "all.jsonl.gz", gzip.compress(content))
    found = estimate(sample_of(tmp_path / "d", 2000), 2000)
    assert found.std_error is None
    assert found.describe() == (
        f"a sample of {(tmp_path / 'd' / 'all.jsonl.gz').stat().st_size / 1000:.1f} KB: about "
        f"{found.describe().split()[6]} tokens in all, by one part of it, so the error is not known; "
        "all.jsonl.gz can only be read from the beginning, and only that was read"
    )
    words = sum(len(json.loads(line)["text"].split()) for line in content.splitlines())
    assert found.tokens == pytest.approx(words, rel=0.3)


def test_a_damaged_place_is_named(tmp_path):
    good = lines(rows("x", 3000))
    write(
        tmp_path / "d",
        "a.jsonl",
        good[: len(good) // 2].rpartition(b"\n")[0] + b"\nbroken\n" * 9999,
    )
    with pytest.raises(DataError, match=r"a.jsonl, the line that ends at byte \d+ is not JSON"):
        list(sample_of(tmp_path / "d", 20_000).read())


@pytest.mark.parametrize("name", ["part-00000", "text.txt", "text.txt.gz"])
def test_large_files_told_by_content(tmp_path, name):
    """JSON lines without an ending are cut at lines; a compressed text is read from its beginning."""
    found = rows("x", 12_000)
    content = (
        lines(found)
        if name == "part-00000"
        else b"".join(r["text"].encode() + b"\n" for r in found)
    )
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    sample = find_sample(FilesTextConfig(paths=[str(tmp_path / name)]), 2000, 0)
    documents = [document.text for document in sample.read()]
    if name == "part-00000":
        assert set(documents) < {row["text"] for row in found}
        assert sample._extents[0].kind == "lines"
    else:
        assert all(document.startswith("x ") or "\nx " in document for document in documents)
    found = sample.estimate(len(documents), {d.part: len(d.text.split()) for d in sample.read()})
    assert found.total_bytes == (tmp_path / name).stat().st_size


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize(
    ("more", "words"),
    [({"where": {"lang": "en"}}, "plain text without fields; take `where` out"),
     ({"value_field": "score"}, "plain text without the field 'score'")],
)  # fmt: skip
def test_conditions_are_refused_for_small_and_packed_plain_text_too(tmp_path, name, more, words):
    content = b"a line of text\n" * 5000
    write(tmp_path / "d", name, gzip.compress(content) if name.endswith("gz") else content)
    source = FilesTextConfig(paths=[str(tmp_path / "d" / "*")]).model_copy(update=more)
    with pytest.raises(DataError, match=words):
        list(find_sample(source, 100, 0).read())


@pytest.mark.parametrize("ending", [*FORMATS, "parquet"])
def test_records_may_lack_one_of_several_fields(tmp_path, ending):
    found = [{"prompt": row["text"], "context": "more" if i % 3 else None, "answer": f"yes {i}"}
             for i, row in enumerate(rows("x", 3000))]  # fmt: skip
    if "json" in ending:
        found = [{key: value for key, value in row.items() if value is not None} for row in found]
    (tmp_path / "d").mkdir()
    if ending == "parquet":
        pd.DataFrame(found).to_parquet(tmp_path / "d" / "a.parquet", row_group_size=90)
    else:
        write(tmp_path / "d", f"a.{ending}", FORMATS[ending](found))
    fields = ["prompt", "context", "answer"]
    sample = sample_of(tmp_path / "d", 3000, field=fields)
    whole = {document.text for document in read_documents(sample.source)}
    assert {document.text for document in sample.read()} < whole
    with pytest.raises(DataError, match="no (field|column) 'contxt'. Did you mean 'context'"):
        list(sample_of(tmp_path / "d", 3000, field=["prompt", "contxt"]).read())


def test_a_field_that_no_record_of_a_short_sample_has_is_told(tmp_path):
    """Of fewer records than those among which each field must occur."""
    write(tmp_path / "d", "a.jsonl", lines({"a": "word " * 200, "b": "more"} for _ in range(60)))
    with pytest.raises(DataError, match="has no field 'c'"):
        list(sample_of(tmp_path / "d", 10_000, field=["a", "c"]).read())


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_file_that_is_only_a_hole_is_told(tmp_path, name):
    with (tmp_path / name).open("wb") as stream:
        stream.truncate(1 << 26)
    if (tmp_path / name).stat().st_blocks:
        pytest.skip("the disk has no sparse files")
    with pytest.raises(DataError, match="has no data, only a hole"):
        list(sample_of(tmp_path, 20_000).read())


def test_a_large_text_on_the_other_side_is_told_before_it_is_read(tmp_path, counted):
    path = tmp_path / "a.txt"
    for number in range(100):
        path.write_bytes(b"%d a line of text\n" % number + b"a line of text\n" * 200_000)
        side = FilesTextConfig(paths=[str(path)], part="train", heldout_share=0.5)
        if is_held_out(identify_file(path), side):
            break
    counted[0] = 0
    with pytest.raises(
        DataError, match="nothing on its train side: its only file is on the held-out"
    ):
        list(find_sample(side, 1000, 0).read())
    assert counted[0] < 2 * path.stat().st_size  # its hash, and no document
    other = side.model_copy(update={"part": "heldout"})
    assert len(list(find_sample(other, 1000, 0).read())) > 0


def test_a_large_file_of_another_encoding_is_told_with_the_byte(tmp_path):
    content = b"a line of text\n" * 200_000
    place = 1_234_567 + 5
    (tmp_path / "a.txt").write_bytes(content[:place] + b"\xe9" + content[place + 1 :])
    with pytest.raises(DataError, match=rf"a.txt is not UTF-8 text \(byte {place}\)"):
        list(sample_of(tmp_path, 100_000).read_all())


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize("n_lines", [20_000, 100_000])  # read from its beginning, and in ranges
def test_a_byte_order_mark_is_no_text_of_a_sample(tmp_path, name, n_lines):
    content = b"\xef\xbb\xbf" + b"a line of text\n" * n_lines
    write(tmp_path / "d", name, gzip.compress(content) if name.endswith("gz") else content)
    sample = sample_of(tmp_path / "d", 50)
    assert not any("\ufeff" in document.text for document in sample.read_all())
    assert [entry[3:] for entry in sample.describe_files()] == [("mark",)]  # another fingerprint


def test_line_ends_of_a_sample_are_those_of_the_text_read_whole(tmp_path):
    write(tmp_path / "d", "a.txt", b"a line of text\r\nand one more\r" * 100_000)
    sample = sample_of(tmp_path / "d", 100_000)
    texts = [document.text for document in sample.read_all()]
    assert len(texts) > 10
    whole = "".join(document.text for document in read_documents(sample.source))
    assert all(text in whole for text in texts)
