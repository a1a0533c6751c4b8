"""Text at URLs is read as local text is, and of a large one only its sample is fetched."""

import gzip
import json
import random

import fsspec
import pandas as pd
import pytest
import toy
import yaml

from mixopt.artifacts.store import ArtifactStore
from mixopt.config.loader import load_study
from mixopt.config.text import FilesTextConfig
from mixopt.data.corpus import fingerprint_text
from mixopt.data.remote_files import RemoteFile, list_remote
from mixopt.data.sources import read_documents
from mixopt.data.study_corpora import StudyCorpora
from mixopt.data.text_files import list_files
from mixopt.data.text_sample import find_sample
from mixopt.errors import DataError

ROWS = [{"text": f"document {i} " + "word " * (i % 50)} for i in range(3000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CONTENT = {"a.jsonl": LINES, "b.jsonl.gz": gzip.compress(LINES), "c.txt": b"plain text\n",
           "d.json": json.dumps(ROWS).encode()}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """The same files in memory, on disk by URL, and on disk."""
    memory = fsspec.filesystem("memory")
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
        memory.pipe(f"/{tmp_path.name}/{name}", content)
    pd.DataFrame(ROWS).to_parquet(tmp_path / "e.parquet", row_group_size=100)
    memory.pipe(f"/{tmp_path.name}/e.parquet", (tmp_path / "e.parquet").read_bytes())
    yield {
        "memory": f"memory://{tmp_path.name}",
        "file": f"file://{tmp_path}",
        "disk": str(tmp_path),
    }
    memory.rm(f"/{tmp_path.name}", recursive=True)


@pytest.mark.parametrize("place", ["memory", "file"])
@pytest.mark.parametrize("name", [*CONTENT, "e.parquet"])
def test_every_format_is_read_as_on_disk(store, place, name):
    sources = [FilesTextConfig(paths=[f"{store[each]}/{name}"]) for each in (place, "disk")]
    read = [[d.text for d in read_documents(source)] for source in sources]
    assert read[0] == read[1]
    assert len(read[0]) == (1 if name == "c.txt" else len(ROWS))
    # where the text lies does not change its corpus
    assert fingerprint_text(sources[0]) == fingerprint_text(sources[1])


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl.gz", "d.json", "e.parquet"])
def test_a_sample_is_the_same_too(store, name):
    samples = [
        find_sample(FilesTextConfig(paths=[f"{store[each]}/{name}"]), 1000, 0)
        for each in ("memory", "disk")
    ]
    assert [d.text for d in samples[0].read()] == [d.text for d in samples[1].read()]
    assert samples[0].compute_fingerprint() == samples[1].compute_fingerprint()


def test_only_the_sample_is_fetched(tmp_path, monkeypatch):
    memory = fsspec.filesystem("memory")
    rng = random.Random(0)
    for number in range(40):
        block = "".join(
            json.dumps({"text": toy.text("birds", rng, 99)}) + "\n" for _ in range(2000)
        )
        memory.pipe(f"/{tmp_path.name}/{number}.jsonl", block.encode())
    fetched = []
    original = RemoteFile.open

    def open_counted(file, mode="r", **more):
        stream = original(file, mode, **more)
        read, readline = stream.read, stream.readline
        stream.read = lambda *a: fetched.append(len(part := read(*a))) or part
        stream.readline = lambda *a: fetched.append(len(part := readline(*a))) or part
        return stream

    monkeypatch.setattr(RemoteFile, "open", open_counted)
    sample = find_sample(FilesTextConfig(paths=[f"memory://{tmp_path.name}/*.jsonl"]), 20_000, 0)
    texts = [document.text for document in sample.read()]
    assert 6 * 20_000 <= sum(map(len, texts)) < 7 * 20_000
    assert sum(fetched) < 2.5 * 6 * 20_000
    memory.rm(f"/{tmp_path.name}", recursive=True)


def test_a_study_trains_on_text_at_urls(store, tmp_path):
    path = toy.write_study(tmp_path / "s")
    file = tmp_path / "s" / "experts" / "birds.yaml"
    plain = yaml.safe_load(file.read_text())
    plain["text"] |= {"paths": [f"{store['memory']}/*.jsonl*"], "group": None}
    file.write_text(yaml.safe_dump(plain))
    config = load_study(path)
    assert config.experts[0].text.paths == [f"{store['memory']}/*.jsonl*"]
    found = StudyCorpora(config, ArtifactStore(tmp_path / "a"), ArtifactStore(tmp_path / "b"))
    found.build()
    assert found.open("birds").documents == sum(1 for _ in found.read("birds"))


def test_listing_takes_files_only_and_each_once(store):
    names = [file.name for file in list_remote(f"{store['memory']}/*")]
    assert names == [*CONTENT, "e.parquet"]
    twice = FilesTextConfig(paths=[f"{store['memory']}/*.jsonl", f"{store['memory']}/a*"])
    assert [file.name for file in list_files(twice)] == ["a.jsonl"]
    (file,) = list_remote(f"{store['file']}/c.txt")
    assert (file.suffix, file.suffixes, file.stat().st_size) == (".txt", [".txt"], 11)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://none/*.jsonl", "No file matches memory://none"),
        ("file:///nowhere/x.jsonl", "No file matches file:///nowhere/x.jsonl"),
        (
            "nosuch://user:secret@host/x.jsonl",
            r"nosuch://.*host/x.jsonl cannot be read \(ValueError",
        ),
    ],
)
def test_a_url_that_cannot_be_read_is_told(url, words):
    with pytest.raises(DataError, match=words) as caught:
        list(read_documents(FilesTextConfig(paths=[url])))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
