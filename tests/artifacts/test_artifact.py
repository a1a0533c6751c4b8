import json
import multiprocessing
import os
import signal
import time

import pytest
from waiting import wait_until

from mixopt.artifacts import artifact
from mixopt.artifacts.artifact import (
    MANIFEST,
    Artifact,
    ArtifactRecord,
    find_verified,
    hash_key,
    is_locked,
    lock_file_of,
)
from mixopt.artifacts.store import ArtifactStore
from mixopt.io import content_hash


def write(text):
    return lambda scratch: (scratch / "x.bin").write_text(text)


def build(root, name, key, write_files):
    """The folder of an artifact in a store at `root`."""
    return ArtifactStore(root).get_or_build(Artifact("kind", name, key), write_files)


def as_another_process():
    artifact._verified.clear()


def test_a_record_holds_key_files_and_seconds(tmp_path):
    folder = build(tmp_path, "expert", {"seed": 3, "training": {"tokens": 9}}, write("done"))
    record = ArtifactRecord.read(folder)
    assert record.key == {"seed": 3, "training": {"tokens": 9}}
    assert record.files.keys() == {"x.bin"}
    assert record.n_bytes == 4
    assert record.seconds >= 0
    assert folder.name.startswith("expert-")
    assert not lock_file_of(folder).exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.write_text("dooe"), "the content of x.bin has changed"),
        (lambda file: file.write_text("don"), "x.bin has 3 bytes and had 4"),
        (lambda file: file.unlink(), "x.bin is missing"),
    ],
)
def test_a_damaged_artifact_is_built_again(tmp_path, caplog, damage, words):
    folder = build(tmp_path, "a", {}, write("done"))
    damage(folder / "x.bin")
    as_another_process()
    assert find_verified(folder) is None
    assert words in caplog.text
    build(tmp_path, "a", {}, write("done"))
    assert (folder / "x.bin").read_text() == "done"


@pytest.mark.parametrize(
    "manifest", ["", "{", "[]", "null", '{"key": {}}', '{"files": {"x": 3}}', "3"]
)
def test_a_folder_without_a_readable_manifest_is_no_artifact(tmp_path, manifest):
    folder = build(tmp_path, "a", {}, write("done"))
    (folder / MANIFEST).write_text(manifest)
    assert find_verified(folder) is None
    build(tmp_path, "a", {}, write("again"))
    assert (folder / "x.bin").read_text() == "again"


def test_every_bit_counts(tmp_path):
    folder = build(tmp_path, "a", {}, lambda s: (s / "x").write_bytes(bytes(range(64))))
    content = (folder / "x").read_bytes()
    for place in range(0, 64 * 8, 37):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        (folder / "x").write_bytes(flipped)
        as_another_process()
        assert find_verified(folder) is None, place
    (folder / "x").write_bytes(content)
    assert find_verified(folder) == folder


def test_a_failed_build_leaves_nothing_that_is_found(tmp_path):
    def fail(scratch):
        (scratch / "x").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        build(tmp_path, "a", {}, fail)
    folder = ArtifactStore(tmp_path).path(Artifact("kind", "a", {}))
    assert find_verified(folder) is None
    assert not is_locked(folder)


def _build_slowly(root, log, seconds):
    def build_files(scratch):
        with open(log, "a") as stream:
            stream.write(f"{os.getpid()}\n")
        time.sleep(seconds)
        (scratch / "x").write_text("done")

    build(root, "a", {}, build_files)


def test_processes_that_want_the_same_artifact_build_it_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    runs = [
        context.Process(target=_build_slowly, args=(tmp_path, tmp_path / "log", 0.8))
        for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(300)
        assert run.exitcode == 0
    assert len((tmp_path / "log").read_text().split()) == 1
    (folder,) = ArtifactStore(tmp_path).list_kind("kind")
    assert (folder / "x").read_text() == "done"


def test_the_lock_of_a_killed_process_is_released(tmp_path):
    context = multiprocessing.get_context("spawn")
    first = context.Process(target=_build_slowly, args=(tmp_path, tmp_path / "log", 600))
    first.start()
    wait_until((tmp_path / "log").exists)
    folder = ArtifactStore(tmp_path).path(Artifact("kind", "a", {}))
    assert is_locked(folder)
    os.kill(first.pid, signal.SIGKILL)
    first.join(300)
    assert not is_locked(folder)
    assert find_verified(folder) is None
    assert find_verified(build(tmp_path, "a", {}, write("done"))) is not None


def test_a_build_removes_what_a_killed_one_left(tmp_path):
    wanted = Artifact("kind", "a", {})
    root = tmp_path / "kind"
    other = f".{wanted.folder_name}0-x81k"
    for name in (f".{wanted.folder_name}-x81k", other, f".{wanted.folder_name}.begun"):
        (root / name).mkdir(parents=True)
        (root / name / "half.bin").write_bytes(b"half")

    def build_files(scratch):
        names = {path.name for path in root.iterdir()}
        assert names >= {other, f".{wanted.folder_name}.begun", scratch.name}
        assert f".{wanted.folder_name}-x81k" not in names
        write("done")(scratch)

    build(tmp_path, "a", {}, build_files)
    assert {path.name for path in root.iterdir()} == {wanted.folder_name, other}


def test_a_rebuild_is_explained_by_the_nearest_key(tmp_path, caplog):
    caplog.set_level("INFO")
    store = ArtifactStore(tmp_path)
    build(tmp_path, "web", {"seed": 0, "training": {"tokens": 10, "rate": 1}}, write("a"))
    build(tmp_path, "web", {"seed": 5, "training": {"tokens": 99, "rate": 2}}, write("b"))
    key = {"seed": 0, "training": {"tokens": 20, "rate": 1}}
    third = Artifact("kind", "web", key)
    assert store.explain_rebuild(third) == "training.tokens was 10 and is 20"
    store.get_or_build(third, write("c"))
    assert "web is built again: training.tokens was 10 and is 20." in caplog.text
    assert store.explain_rebuild(Artifact("kind", "code", key)) == ""


def test_what_another_study_built_is_no_rebuild(tmp_path, caplog):
    """Corpora of all studies lie in one folder, and two studies may each have one called notes."""
    caplog.set_level("INFO")
    store = ArtifactStore(tmp_path, is_shared=True)
    store.get_or_build(Artifact("corpora", "notes", {"text": 1}), write("a"))
    other = Artifact("corpora", "notes", {"text": 2})
    assert store.explain_rebuild(other) == ""
    store.get_or_build(other, write("b"))
    assert "built again" not in caplog.text


def test_hashes_are_told_by_their_beginning():
    old, new = {"tokenizer": "7130e381f20ee3e2" * 2}, {"tokenizer": "d81c412719f551c9" * 2}
    assert artifact.describe_changes(old, new) == "tokenizer was 7130e381 and is d81c4127"
    long = {"noise": [0.25] * 30, "seed": 1}
    changes = artifact.describe_changes(long, {"noise": [[0.25] * 30], "seed": 2})
    assert changes == "noise changed; seed was 1 and is 2"


def test_keys_are_compared_as_they_are_written(tmp_path):
    """Tuples become lists in JSON, and paths text: no change."""
    key = {"step": (0.1, 3), "path": tmp_path}
    folder = build(tmp_path, "a", key, write("x"))
    assert json.loads((folder / MANIFEST).read_text())["key"]["step"] == [0.1, 3]
    assert artifact.explain_rebuild(folder.parent / "a-2", key) == ""


def test_a_disk_that_fails_is_damage(tmp_path, monkeypatch, caplog):
    folder = build(tmp_path, "a", {}, write("done"))
    as_another_process()

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(artifact, "hash_content", fail)
    assert find_verified(folder) is None
    assert "x.bin cannot be read: Input/output error" in caplog.text


def test_another_process_does_not_read_large_files_again(tmp_path, monkeypatch):
    folder, reads = build(tmp_path, "a", {}, write("done")), []
    monkeypatch.setattr(content_hash, "LARGE", 1)
    monkeypatch.setattr(content_hash, "SETTLED_S", -60)
    real = content_hash._hash
    monkeypatch.setattr(content_hash, "_hash", lambda file: reads.append(file.name) or real(file))
    for _ in range(3):
        as_another_process()
        assert find_verified(folder) == folder
    assert reads == ["x.bin"]
    (folder / "x.bin").write_text("DONE")
    as_another_process()
    assert find_verified(folder) is None


def test_asking_whether_it_is_built_now_creates_no_file(tmp_path):
    assert not is_locked(tmp_path / "a-1")
    assert list(tmp_path.iterdir()) == []
    lock_file_of(tmp_path / "a-1").write_text("")
    lock_file_of(tmp_path / "a-1").chmod(0o400)
    assert not is_locked(tmp_path / "a-1")
    assert [path.name for path in tmp_path.iterdir()] == [".a-1.lock"]


def test_the_name_of_an_artifact_does_not_depend_on_the_order_of_keys():
    assert hash_key({"a": 1, "b": [2]}) == hash_key({"b": [2], "a": 1})
    assert hash_key({"a": 1}) != hash_key({"a": 2})
    one, other = Artifact("k", "n", {"a": 1, "b": 2}), Artifact("k", "n", {"b": 2, "a": 1})
    assert one.reference == other.reference == f"k/{one.folder_name}"


def test_a_key_holds_no_credentials():
    """Manifests are packed and shared; the folder's name follows from what is written."""
    key = {"text": {"paths": ["https://me:secret@host/data.jsonl"]}}
    named = Artifact("corpora", "web", key)
    assert named.full_key["text"] == {"paths": ["https://host/data.jsonl"]}
    assert named.folder_name == f"web-{hash_key(named.full_key)}"
