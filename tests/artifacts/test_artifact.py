import json
import multiprocessing
import os
import signal
import time

import pytest

from mixopt.artifacts import artifact
from mixopt.artifacts.artifact import (
    Unit,
    build_artifact,
    find_artifact,
    find_change,
    is_being_made,
    lock_of,
)


def write(text):
    return lambda scratch: (scratch / "x.bin").write_text(text)


def forget():
    """As if another process looked."""
    artifact._sound.clear()


def test_a_unit_knows_what_it_was_made_from(tmp_path):
    folder = build_artifact(
        tmp_path / "expert-1", {"seed": 3, "training": {"tokens": 9}}, write("done")
    )
    unit = Unit.read(folder)
    assert unit.key == {"seed": 3, "training": {"tokens": 9}}
    assert unit.files.keys() == {"x.bin"}
    assert unit.n_bytes == 4
    assert unit.seconds >= 0
    assert not lock_of(folder).exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.write_text("dooe"), "the content of x.bin has changed"),
        (lambda file: file.write_text("don"), "x.bin has 3 bytes and had 4"),
        (lambda file: file.unlink(), "x.bin is missing"),
    ],
)
def test_damage_is_work_to_be_done_again(tmp_path, caplog, damage, words):
    folder = build_artifact(tmp_path / "a-1", {}, write("done"))
    damage(folder / "x.bin")
    forget()
    assert find_artifact(folder) is None
    assert words in caplog.text
    build_artifact(folder, {}, write("done"))
    assert (folder / "x.bin").read_text() == "done"


@pytest.mark.parametrize(
    "manifest", ["", "{", "[]", "null", '{"key": {}}', '{"files": {"x": 3}}', "3"]
)
def test_a_manifest_that_cannot_be_read_is_no_unit(tmp_path, manifest):
    folder = build_artifact(tmp_path / "a-1", {}, write("done"))
    (folder / "unit.json").write_text(manifest)
    assert find_artifact(folder) is None
    build_artifact(folder, {}, write("again"))
    assert (folder / "x.bin").read_text() == "again"


def test_every_bit_counts(tmp_path):
    folder = build_artifact(tmp_path / "a-1", {}, lambda s: (s / "x").write_bytes(bytes(range(64))))
    content = (folder / "x").read_bytes()
    for place in range(0, 64 * 8, 37):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        (folder / "x").write_bytes(flipped)
        forget()
        assert find_artifact(folder) is None, place
    (folder / "x").write_bytes(content)
    assert find_artifact(folder) == folder


def test_a_failure_leaves_nothing_that_is_found(tmp_path):
    def fail(scratch):
        (scratch / "x").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        build_artifact(tmp_path / "a-1", {}, fail)
    assert find_artifact(tmp_path / "a-1") is None
    assert not is_being_made(tmp_path / "a-1")


def _make_slowly(folder, log, seconds):
    def build(scratch):
        with open(log, "a") as stream:
            stream.write(f"{os.getpid()}\n")
        time.sleep(seconds)
        (scratch / "x").write_text("done")

    build_artifact(folder, {}, build)


def test_two_runs_join_and_the_work_is_done_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    runs = [
        context.Process(target=_make_slowly, args=(tmp_path / "a-1", tmp_path / "log", 0.8))
        for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(30)
        assert run.exitcode == 0
    assert len((tmp_path / "log").read_text().split()) == 1
    assert (tmp_path / "a-1" / "x").read_text() == "done"


def test_a_run_that_is_killed_lets_go_and_the_next_one_makes_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    first = context.Process(target=_make_slowly, args=(tmp_path / "a-1", tmp_path / "log", 60))
    first.start()
    while not (tmp_path / "log").exists():
        time.sleep(0.02)
    assert is_being_made(tmp_path / "a-1")
    os.kill(first.pid, signal.SIGKILL)
    first.join(10)
    assert not is_being_made(tmp_path / "a-1")
    assert find_artifact(tmp_path / "a-1") is None
    build_artifact(tmp_path / "a-1", {}, write("done"))
    assert find_artifact(tmp_path / "a-1") is not None


def test_what_a_killed_maker_left_is_swept_by_the_next(tmp_path):
    for name in (".a-1-x81k", ".a-10-x81k", ".a-1.begun"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half.bin").write_bytes(b"half")

    def build(scratch):
        assert {p.name for p in tmp_path.iterdir()} >= {".a-10-x81k", ".a-1.begun", scratch.name}
        write("done")(scratch)

    build_artifact(tmp_path / "a-1", {}, build)
    assert {p.name for p in tmp_path.iterdir()} == {"a-1", ".a-10-x81k"}  # that is another's


def test_what_has_changed_since_the_nearest_unit_of_the_name(tmp_path, caplog):
    caplog.set_level("INFO")
    build_artifact(
        tmp_path / "web-1", {"seed": 0, "training": {"tokens": 10, "rate": 1}}, write("a")
    )
    build_artifact(
        tmp_path / "web-2", {"seed": 5, "training": {"tokens": 99, "rate": 2}}, write("b")
    )
    key = {"seed": 0, "training": {"tokens": 20, "rate": 1}}
    assert find_change(tmp_path / "web-3", key) == "training.tokens was 10 and is 20"
    build_artifact(tmp_path / "web-3", key, write("c"))
    assert "web is made again: training.tokens was 10 and is 20." in caplog.text
    assert find_change(tmp_path / "code-1", key) == ""


def test_keys_are_compared_as_they_are_written(tmp_path):
    """Tuples become lists in JSON, and paths text: no change."""
    key = {"step": (0.1, 3), "path": tmp_path}
    build_artifact(tmp_path / "a-1", key, write("x"))
    assert json.loads((tmp_path / "a-1" / "unit.json").read_text())["key"]["step"] == [0.1, 3]
    assert find_change(tmp_path / "a-2", key) == ""


def test_a_disk_that_fails_is_damage(tmp_path, monkeypatch, caplog):
    folder = build_artifact(tmp_path / "a-1", {}, write("done"))
    forget()

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(artifact, "hash_content", fail)
    assert find_artifact(folder) is None
    assert "x.bin cannot be read: Input/output error" in caplog.text


def test_looking_writes_nothing(tmp_path):
    assert not is_being_made(tmp_path / "a-1")
    lock_of(tmp_path / "a-1").write_text("")
    lock_of(tmp_path / "a-1").chmod(0o400)
    assert not is_being_made(tmp_path / "a-1")
    assert [p.name for p in tmp_path.iterdir()] == [".a-1.lock"]
