"""Text at URLs is read as local text is, and of a large one only its sample is fetched."""

import gzip
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

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


class Broken(fsspec.AbstractFileSystem):
    """A file whose connection breaks after its first block."""

    protocol = "broken"

    def info(self, path, **more):
        return {"name": path, "size": 10**6, "type": "file"}

    def exists(self, path, **more):
        return True

    def _open(self, path, mode="rb", **more):
        return BrokenStream(self, path, mode, **more)


class BrokenStream(fsspec.spec.AbstractBufferedFile):
    def _fetch_range(self, start, end):
        if start or end > 500_000:
            raise ConnectionResetError("peer\nsaid nothing")
        return LINES[start:end].ljust(end - start, b"\n")


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.json", "a.parquet"])
def test_a_connection_that_breaks_while_reading_is_told(name):
    """It ended in an internal error of the file system."""
    fsspec.register_implementation("broken", Broken, clobber=True)
    with pytest.raises(
        DataError, match=r"broken://host/.* cannot be read \(ConnectionReset"
    ) as caught:
        list(read_documents(FilesTextConfig(paths=[f"broken://host/{name}"])))
    assert "\n" not in str(caught.value)


@pytest.fixture
def hub(monkeypatch):
    """A server that answers as the Hugging Face hub does for the files of one dataset."""
    constants = pytest.importorskip("huggingface_hub.constants")
    import huggingface_hub

    files = {
        f"data/{name}": content for name, content in CONTENT.items() if not name.endswith("txt")
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (HubAnswers,), {"files": files}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.HfFileSystem.clear_instance_cache()
    yield constants
    server.shutdown()
    server.server_close()
    huggingface_hub.HfFileSystem.clear_instance_cache()


class HubAnswers(BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]]

    def log_message(self, *words):
        pass

    def do_GET(self):
        path = self.path.partition("?")[0]
        if not path.startswith(("/api/datasets/me/set", "/datasets/me/set/resolve/")):
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif "/tree/main" in path:
            self.answer(
                200, json.dumps(self.list(path.partition("/tree/main")[2].strip("/"))).encode()
            )
        elif "/resolve/" in path:
            self.send_range(self.files[path.partition("/resolve/main/")[2]])
        else:
            self.answer(200, json.dumps({"id": "me/set", "sha": "1" * 40, "siblings": []}).encode())

    do_HEAD = do_GET  # noqa: N815

    def list(self, folder):
        if not folder:
            return [{"type": "directory", "path": "data", "oid": "0" * 40}]
        return [{"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                for path, content in self.files.items()]  # fmt: skip

    def send_range(self, content):
        first, last = self.headers["Range"].removeprefix("bytes=").split("-")
        part = content[int(first) : int(last) + 1]
        self.answer(206, part, {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    def answer(self, code, body, headers=()):
        self.send_response(code)
        for name, value in {**dict(headers), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")


def test_files_of_the_hub_through_its_own_file_system(hub):
    for path, name in (("data/*.jsonl", "a.jsonl"), ("data/b.jsonl.gz", ""), ("data/d.json", "")):
        source = FilesTextConfig(paths=[f"hf://datasets/me/set/{path}"])
        assert [d.text for d in read_documents(source)] == [row["text"] for row in ROWS]
        assert list_files(source)[0].name == (name or path.partition("/")[2])
    (file,) = list_remote("hf://datasets/me/set@main/data/a.jsonl")
    assert file.size == len(LINES)
    sample = find_sample(FilesTextConfig(paths=["hf://datasets/me/set/data/a.jsonl"]), 500, 0)
    assert {document.text for document in sample.read()} < {row["text"] for row in ROWS}


def test_the_hub_offline_or_without_the_dataset_is_told(hub, monkeypatch):
    def read(path):
        list(read_documents(FilesTextConfig(paths=[f"hf://datasets/{path}"])))

    with pytest.raises(DataError, match="No file matches hf://datasets/me/other/a.jsonl"):
        read("me/other/a.jsonl")
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="hf://datasets/me/set/data/.* cannot be read .*offline"):
        read("me/set/data/a*.jsonl")


def test_files_of_the_hub_change_with_their_content(hub, monkeypatch):
    """The hub tells no time of a file in a listing, but the hash of its content."""
    name = "hf://datasets/me/set/data/a.jsonl"
    first = list_remote(name)[0].stamp

    import huggingface_hub

    monkeypatch.setattr(HubAnswers, "list", lambda self, folder: [
        {"type": "directory", "path": "data", "oid": "0" * 40}] if not folder else [
        {"type": "file", "path": path, "size": len(content), "oid": "1" * 40}
        for path, content in self.files.items()])  # fmt: skip
    huggingface_hub.HfFileSystem.clear_instance_cache()
    assert list_remote(name)[0].stamp != first
