import json
import shutil
import threading
import time
from pathlib import Path

import pytest

from mixopt.artifacts import artifact as artifact_module
from mixopt.artifacts import store as store_module
from mixopt.artifacts.artifact import MANIFEST, Artifact, ArtifactRecord, build_lock
from mixopt.artifacts.store import ArtifactStore, MissingArtifactError, RankZeroStore
from mixopt.errors import DivergedError, RunError, StorageError

ONE = Artifact("kind", "name", {"seed": 1})


def write(text):
    return lambda scratch: (scratch / "x").write_text(text)


def fail(_):
    raise RuntimeError("no")


def test_an_artifact_is_built_once(tmp_path):
    calls = []

    def build(scratch):
        calls.append(1)
        (scratch / "x").write_text("done")

    first = ArtifactStore(tmp_path).get_or_build(ONE, build)
    second = ArtifactStore(tmp_path).get_or_build(ONE, build)
    assert first == second
    assert len(calls) == 1
    assert (first / "x").read_text() == "done"


def test_a_build_may_say_how_long_it_took(tmp_path):
    store = ArtifactStore(tmp_path)
    folders = [store.get_or_build(Artifact("kind", name, {}), write("1"), count)
               for name, count in (("a", None), ("b", lambda: 5e5))]  # fmt: skip
    seconds = [ArtifactRecord.read(folder).seconds for folder in folders]
    assert seconds[0] < 60
    assert seconds[1] == 5e5


def test_another_key_is_another_artifact(tmp_path):
    store = ArtifactStore(tmp_path)
    folders = {
        store.get_or_build(Artifact("kind", "name", {"seed": seed}), lambda _: None)
        for seed in (1, 2)
    }
    assert len(folders) == 2
    assert {ArtifactRecord.read(folder).key["seed"] for folder in folders} == {1, 2}


def test_a_failed_build_is_recorded_until_one_succeeds(tmp_path):
    store = ArtifactStore(tmp_path)
    for times in (1, 2):
        with pytest.raises(RuntimeError):
            store.get_or_build(ONE, fail)
        failure = store.failure(ONE)
        assert (failure.cause, failure.times, failure.folder) == ("no", times, ONE.folder_name)
    assert store.state(ONE) == "failed"
    assert [p for p in (tmp_path / "kind").iterdir() if p.suffix != ".lock"] == []
    other = Artifact("kind", "name", {"seed": 2})
    store.get_or_build(other, write("1"))  # the name is one thing: its older failure is past
    assert store.failures() == []
    assert store.state(ONE) == "missing"


def test_state_and_what_can_be_read(tmp_path):
    store = ArtifactStore(tmp_path)
    assert store.state(ONE) == "missing"
    with pytest.raises(MissingArtifactError) as missing:
        store.get(ONE)
    assert missing.value.artifact is ONE
    with build_lock(store.path(ONE)):
        assert store.state(ONE) == "running"
    folder = store.get_or_build(ONE, write("1"))
    assert store.state(ONE) == "done"
    assert store.get(ONE) == store.open(ONE.reference) == store.find(ONE) == folder
    assert store.record(ONE).n_bytes == 1
    with pytest.raises(StorageError, match="is missing or damaged"):
        store.open("kind/other-1")


def test_a_read_only_store_builds_and_records_nothing(tmp_path):
    store = ArtifactStore(tmp_path, read_only=True)
    with pytest.raises(MissingArtifactError):
        store.get_or_build(ONE, write("1"))
    assert list(tmp_path.iterdir()) == []
    folder = ArtifactStore(tmp_path).get_or_build(ONE, write("1"))
    assert store.get_or_build(ONE, fail) == folder


def test_a_folder_without_its_manifest_is_built_again(tmp_path):
    store = ArtifactStore(tmp_path)
    folder = store.get_or_build(ONE, write("1"))
    (folder / MANIFEST).unlink()
    store.get_or_build(ONE, write("2"))
    assert (folder / "x").read_text() == "2"


def test_many_keys_of_one_candidate_are_no_rebuild(tmp_path, caplog):
    caplog.set_level("INFO")
    store = ArtifactStore(tmp_path)
    for kind in ("scores", "experts"):
        for weights in ([0.1, 0.9], [0.2, 0.8]):
            store.get_or_build(Artifact(kind, "candidate", {"weights": weights}), lambda _: None)
    messages = [record.message for record in caplog.records]
    assert messages == ["candidate is built again: weights was [0.1, 0.9] and is [0.2, 0.8]."]


class AbortedError(BaseException):
    """Ends a process of a launch, here a thread."""


class Two:
    """Two threads that agree as the processes of a launch do."""

    def __init__(self):
        self.barrier = threading.Barrier(2, timeout=300)
        self.value = None

    def rank(self, own):
        both = self

        class Rank:
            is_main = own == 0

            def broadcast(self, value):
                if own == 0:
                    both.value = value
                both.barrier.wait()
                sent = both.value
                both.barrier.wait()
                return sent

            def abort(self, error):
                raise AbortedError from error

        return Rank()


def build_on_both(tmp_path, kind, build):
    """What each of two processes gets, and which of them built."""
    both, found, built = Two(), {}, []

    def walk(own):
        def own_build(scratch):
            built.append(own)
            build(own, scratch)

        try:
            store = RankZeroStore(tmp_path, both.rank(own))
            found[own] = store.get_or_build(Artifact(kind, "web", {"a": 1}), own_build)
        except (Exception, AbortedError) as error:
            found[own] = error

    threads = [threading.Thread(target=walk, args=(own,), name=f"rank {own}") for own in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, sorted(built)


def write_rank(own, scratch):
    (scratch / "who").write_text(str(own))


@pytest.mark.parametrize(("kind", "builders"), [("experts", [0, 1]), ("scores", [0])])
def test_all_processes_train_and_the_first_builds_everything_else(tmp_path, kind, builders):
    found, built = build_on_both(tmp_path, kind, write_rank)
    assert built == builders
    assert found[0] == found[1]
    assert (found[0] / "who").read_text() == "0"
    again, built = build_on_both(tmp_path, kind, write_rank)
    assert (again, built) == (found, [])


@pytest.mark.parametrize(("kind", "builders"), [("experts", [0, 1]), ("scores", [0])])
def test_a_process_waits_for_a_file_system_that_is_late(tmp_path, monkeypatch, kind, builders):
    """It shows another process nothing at first of what the main one has written."""
    find, looks = store_module.find_verified, []

    def find_late(folder):
        if threading.current_thread().name == "rank 1":
            looks.append(folder)
            if len(looks) <= 2:
                return None
        return find(folder)

    monkeypatch.setattr(store_module, "find_verified", find_late)
    found, built = build_on_both(tmp_path, kind, write_rank)
    assert built == builders
    assert found[0] == found[1]
    monkeypatch.setattr(store_module, "VISIBLE_AFTER_S", 0.1)
    monkeypatch.setattr(store_module, "find_verified", lambda folder: (
        None if threading.current_thread().name == "rank 1" else find(folder)
    ))  # fmt: skip
    again, _ = build_on_both(tmp_path, kind, write_rank)
    assert again[0] == found[0]
    assert isinstance(again[1], StorageError)


def test_every_process_reports_a_failure(tmp_path):
    def build(own, scratch):
        raise DivergedError("The loss stopped being finite.")

    found, _ = build_on_both(tmp_path, "experts", build)
    assert all(isinstance(error, DivergedError) for error in found.values())
    found, _ = build_on_both(tmp_path, "scores", build)
    assert isinstance(found[0], DivergedError)
    assert isinstance(found[1], RunError)
    assert "The first process failed: The loss stopped" in str(found[1])


@pytest.mark.parametrize("failing", [(0,), (1,), (0, 1)])
def test_a_process_that_fails_while_all_train_ends_at_once(tmp_path, failing):
    """It may not wait for the others, which wait for it inside a training step."""
    cause = StorageError("The disk is full.")

    def build(own, scratch):
        if own in failing:
            raise cause
        raise AbortedError  # the launcher ends it

    found, built = build_on_both(tmp_path, "experts", build)
    assert built == [0, 1]
    assert {type(error) for error in found.values()} == {AbortedError}
    assert [own for own in (0, 1) if found[own].__cause__ is cause] == list(failing)
    assert bool(ArtifactStore(tmp_path).failures()) == (0 in failing)


def test_nobody_trains_what_another_launch_is_training(tmp_path):
    """The first process waits for the lock, and finds the artifact finished."""
    artifact = Artifact("experts", "web", {"a": 1})
    begun, found = threading.Event(), []

    def build_elsewhere(scratch):
        begun.set()
        while threading.active_count() < before + 3:  # the two processes have been started
            time.sleep(0.01)
        time.sleep(0.3)
        write_rank("elsewhere", scratch)

    before = threading.active_count()
    other = threading.Thread(
        target=lambda: found.append(ArtifactStore(tmp_path).get_or_build(artifact, build_elsewhere))
    )
    other.start()
    begun.wait()
    both, built = build_on_both(tmp_path, "experts", write_rank)
    other.join()
    assert built == []
    assert both == {0: found[0], 1: found[0]}


@pytest.mark.parametrize("other", [
    Artifact("kind", "name", {"seed": 2}),  # another key
    Artifact("kind", "other", {"seed": 1}),  # another name, and a key that does not say so
    Artifact("sort", "name", {"seed": 1}),  # another kind
])  # fmt: skip
def test_the_folder_of_another_artifact_is_not_used(tmp_path, caplog, other):
    """A folder that was copied over another's is whole, and is not what is asked for."""
    source = ArtifactStore(tmp_path / "a").get_or_build(other, write("theirs"))
    store = ArtifactStore(tmp_path / "b")
    place = store.path(ONE)
    place.parent.mkdir(parents=True)
    shutil.copytree(source, place)
    assert store.find(ONE) is None
    assert "is damaged (it" in caplog.text
    assert (store.get_or_build(ONE, write("ours")) / "x").read_text() == "ours"
    # its own name, in a store elsewhere, is no difference
    shutil.copytree(source, store.path(other), dirs_exist_ok=True)
    assert store.find(other) is not None


def test_manifests_of_earlier_versions_name_no_artifact(tmp_path):
    folder = ArtifactStore(tmp_path).get_or_build(ONE, write("done"))
    plain = json.loads((folder / MANIFEST).read_text())
    assert plain.pop("artifact") == ONE.reference
    (folder / MANIFEST).write_text(json.dumps(plain))
    assert ArtifactStore(tmp_path).find(ONE) == folder


def test_a_key_hashes_the_same_as_it_was_written(tmp_path):
    key = {"losses": {10: 1e-7, 9: 0.1 + 0.2}, "ratios": (1, 2), "path": tmp_path}
    artifact = Artifact("kind", "name", key)
    folder = ArtifactStore(tmp_path).get_or_build(artifact, write("done"))
    artifact_module._verified.clear()
    assert ArtifactStore(tmp_path).find(artifact) == folder


def test_leftovers_of_a_kind_are_listed_once(tmp_path, monkeypatch):
    listed, real = [], Path.glob
    monkeypatch.setattr(
        Path, "glob", lambda self, pattern: listed.append(pattern) or real(self, pattern)
    )
    store = ArtifactStore(tmp_path)
    for number in range(5):
        store.get_or_build(Artifact("scores", f"a{number}", {}), lambda scratch: None)
    assert len(listed) == 1
