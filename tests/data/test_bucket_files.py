import errno
import json
from types import SimpleNamespace

import pytest
from split_texts import ROWS, open_corpora

from mixopt.data import bucket_files
from mixopt.data.bucket_files import write_buckets
from mixopt.errors import ConfigError, OutputError, StorageError


def read(file):
    return [json.loads(line)["text"] for line in file.path.read_text().splitlines()]


def test_each_bucket_has_a_file_of_its_documents(tmp_path):
    found = open_corpora(
        tmp_path, {"by": "field", "field": "meta.score", "quantiles": [0.5], "keep": 0.5}
    )
    found.build()
    files = write_buckets(found, tmp_path / "out")
    assert {name: file.documents for name, file in files.items()} == {
        "birds:q1": 10,
        "birds:q2": 10,
    }
    assert files["birds:q2"].path == tmp_path / "out" / "birds" / "q2.jsonl"
    whole = [row["text"] for row in ROWS]
    assert read(files["birds:q1"]) == whole[:10]
    assert read(files["birds:q2"]) == whole[10:20]
    assert len(list((tmp_path / "out").rglob("*.*"))) == 2


def test_of_a_sampled_text_all_documents_are_written_by_the_samples_edges(tmp_path):
    rows = [{"text": f"bird {i} sings " * (5 + i % 7)} for i in range(4000)]
    found = open_corpora(tmp_path, {"by": "length", "quantiles": [0.6]}, rows, tokens=9000)
    found.build()
    files = write_buckets(found, tmp_path / "out")
    (cut,) = found.open_split(found.buckets["birds:q1"]).edges.cuts
    low = [row["text"] for row in rows if len(row["text"]) <= cut]
    assert read(files["birds:q1"]) == low
    assert files["birds:q2"].documents == 4000 - len(low)


def test_a_text_that_is_only_pruned_has_one_file(tmp_path):
    found = open_corpora(tmp_path, {"by": "length", "keep": 0.25})
    found.build()
    (file,) = write_buckets(found, tmp_path / "out").values()
    assert file.path.name == "kept.jsonl"
    assert len(read(file)) == found.counts["birds"].documents


def test_two_texts_of_one_folder_are_refused(tmp_path):
    found = SimpleNamespace(
        buckets={f"{group}:q{n}": SimpleNamespace(group=group, index=n)
                 for group in ("a/b", "c", "a:b") for n in (1, 2)}
    )  # fmt: skip
    with pytest.raises(ConfigError, match="'a/b' and 'a:b' would be written to one folder, a_b;"):
        write_buckets(found, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_and_a_file_in_the_way_are_told(tmp_path, monkeypatch):
    found = open_corpora(tmp_path, {"by": "length", "keep": 0.25})
    found.build()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_buckets(found, tmp_path / "file")

    def fill(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bucket_files.json, "dumps", fill)
    with pytest.raises(StorageError, match="The disk is full, so .*birds was not written"):
        write_buckets(found, tmp_path / "out")
