import pytest

from mixopt.artifacts.artifact import MANIFEST, Artifact, build_lock
from mixopt.artifacts.store import ArtifactStore, MissingArtifactError
from mixopt.errors import StorageError

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


def test_another_key_is_another_artifact(tmp_path):
    store = ArtifactStore(tmp_path)
    folders = {
        store.get_or_build(Artifact("kind", "name", {"seed": seed}), lambda _: None)
        for seed in (1, 2)
    }
    assert len(folders) == 2
    assert [record.key["seed"] for record in store.records("kind", "name")] == [1, 2]


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
