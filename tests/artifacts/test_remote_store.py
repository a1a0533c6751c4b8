import base64
import json
import shutil
import threading
from functools import wraps

import fsspec
import numpy as np
import pytest

from mixopt.artifacts import bundle
from mixopt.artifacts.artifact import MANIFEST, Artifact, ArtifactRecord, work_folder_of
from mixopt.artifacts.remote_store import RemoteArtifactStore
from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import StorageError, UnreachableError

KEY = {"of": "text", "seed": 3}
TOLD = {"items.npy": 12_000, "items.json": 2_000, "losses.json": 100, "told.json": 100}
"""Sizes of a candidate's files."""


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    """A disk that machines share, and a store of objects without folders or renames."""
    if request.param == "file":
        yield str(tmp_path / "storage")
        return
    yield f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(params=["inside", "apart"])
def travels(request, monkeypatch):
    """How the files of a unit travel: in the manifest, or as large ones do."""
    if request.param == "apart":
        monkeypatch.setattr(bundle, "MAX_INLINE_BYTES", 0)
    return request.param


class Counted:
    """A store that counts what it is asked for."""

    def __init__(self, journal):
        self.files, self.asked = journal._storage._files, []
        journal._storage._files = self

    def __getattr__(self, name):
        found = getattr(self.files, name)
        if not callable(found) or name == "invalidate_cache":
            return found

        @wraps(found)
        def ask(*given, **named):
            self.asked.append(name)
            return found(*given, **named)

        return ask


def machine(tmp_path, name, url):
    return RemoteArtifactStore(tmp_path / name, url)


def build(scratch):
    (scratch / "inner").mkdir()
    (scratch / "inner" / "x.bin").write_bytes(bytes(range(256)))
    (scratch / "told.json").write_text('{"a": 1}')


def never(_):
    pytest.fail("made again")


def candidate(scratch):
    for name, size in TOLD.items():
        (scratch / name).write_bytes(bytes(size))


def objects(journal):
    """The store of a journal and the folder that it lies in there."""
    return journal._storage._files, journal._storage._root


def test_what_one_machine_made_another_finds_whole(tmp_path, url, travels):
    made = machine(tmp_path, "a", url).get_or_build(Artifact("experts", "web", KEY), build)
    found = machine(tmp_path, "b", url).get_or_build(Artifact("experts", "web", KEY), never)
    assert found.parent == tmp_path / "b" / "experts"
    assert (found / "inner" / "x.bin").read_bytes() == bytes(range(256))
    assert ArtifactRecord.read(found).key == ArtifactRecord.read(made).key
    assert ArtifactRecord.read(found).key.items() >= KEY.items()
    assert (found / MANIFEST).read_text() == (made / MANIFEST).read_text()
    assert ArtifactRecord.read(found).find_damage() is None
    assert machine(tmp_path, "c", url).open(f"experts/{made.name}").is_dir()
    assert [p.name for p in machine(tmp_path, "d", url).find_all("experts", "web")] == [made.name]
    assert {p.name for p in machine(tmp_path, "e", url).list_kind("experts")} == {made.name}


def test_what_nobody_made_is_not_found(tmp_path, url):
    journal = machine(tmp_path, "a", url)
    assert journal.find(Artifact("experts", "web", KEY)) is None
    assert list(journal.find_all("experts", "web")) == []
    with pytest.raises(StorageError, match="is missing or damaged; run again"):
        journal.open("experts/web-1")


def test_a_unit_without_its_manifest_is_not_there(tmp_path, url, travels):
    """Files come first: a machine that goes away while it sends leaves nothing behind to be found."""
    journal = machine(tmp_path, "a", url)
    made = journal.get_or_build(Artifact("experts", "web", KEY), build)
    journal._storage.remove(f"experts/{made.name}/{MANIFEST}")
    assert machine(tmp_path, "b", url).find(Artifact("experts", "web", KEY)) is None


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "manifest"])
def test_what_was_damaged_in_storage_is_made_again(tmp_path, url, travels, damage, caplog):
    first = machine(tmp_path, "a", url)
    made = first.get_or_build(Artifact("experts", "web", KEY), build)
    (files, root), name = objects(first), "inner/x.bin"
    path = f"{root}/experts/{made.name}/{MANIFEST}"
    told = json.loads(files.cat_file(path))
    content = {"flipped": b"\x01" + bytes(range(1, 256)), "cut": bytes(range(100))}.get(damage)
    place = f"{root}/experts/{made.name}/{told.get('at')}/{name}"
    if damage == "manifest":
        files.pipe_file(path, b'{"key": {}, "files"')
    elif travels == "apart" and content is None:
        files.rm(place)
    elif travels == "apart":
        files.pipe_file(place, content)
    else:
        told["content"][name] = None if content is None else base64.b64encode(content).decode()
        files.pipe_file(path, json.dumps(told).encode())
    again = machine(tmp_path, "b", url)
    found = again.get_or_build(Artifact("experts", "web", KEY), build)
    assert ArtifactRecord.read(found).find_damage() is None
    if damage != "manifest":
        assert "is damaged" in caplog.text
    assert machine(tmp_path, "c", url).get_or_build(Artifact("experts", "web", KEY), never).is_dir()
    assert files.exists(place) == (
        damage == "manifest" and travels == "apart"
    )  # nobody knows of it


def test_a_manifest_may_not_name_files_outside(tmp_path, url, travels):
    first = machine(tmp_path, "a", url)
    made = first.get_or_build(Artifact("experts", "web", KEY), build)
    files, root = objects(first)
    path = f"{root}/experts/{made.name}/{MANIFEST}"
    told = json.loads(files.cat_file(path))
    told["files"]["../../../escaped"] = [1, "0" * 32]
    told.get("content", {})["../../../escaped"] = "AA=="
    files.pipe_file(path, json.dumps(told).encode())
    assert machine(tmp_path, "b", url).find(Artifact("experts", "web", KEY)) is None
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b"x" * (17 << 20)])
def test_garbage_at_the_url_is_nothing_and_gives_way(tmp_path, url, garbage):
    first = machine(tmp_path, "a", url)
    place = first.path(Artifact("experts", "web", KEY))
    files, root = objects(first)
    files.makedirs(f"{root}/experts/{place.name}", exist_ok=True)
    files.pipe_file(f"{root}/experts/{place.name}/{MANIFEST}", garbage)
    assert first.find(Artifact("experts", "web", KEY)) is None
    assert list(first.find_all("experts", "web")) == []
    first.get_or_build(Artifact("experts", "web", KEY), build)
    assert machine(tmp_path, "b", url).get_or_build(Artifact("experts", "web", KEY), never).is_dir()


def test_of_two_makers_everybody_ends_with_one_makers_files(tmp_path, url, travels):
    def noisy(seed):
        def write(scratch):
            for name in ("x", "y"):
                np.save(scratch / f"{name}.npy", np.full(3, seed))

        return write

    a, b = machine(tmp_path, "a", url), machine(tmp_path, "b", url)
    super(RemoteArtifactStore, b).get_or_build(
        Artifact("experts", "web", KEY), noisy(2)
    )  # before it could see a's
    a.get_or_build(Artifact("experts", "web", KEY), noisy(1))
    b.get_or_build(Artifact("experts", "web", KEY), never)
    found = machine(tmp_path, "c", url).get_or_build(Artifact("experts", "web", KEY), never)
    assert {np.load(found / f"{name}.npy")[0] for name in ("x", "y")} == {1}


def test_what_is_begun_goes_on_elsewhere_and_is_gone_when_it_is_made(tmp_path, url, travels):
    first = machine(tmp_path, "a", url)
    place = first.work_folder(Artifact("experts", "web", KEY))
    place.mkdir(parents=True)
    for step in (10, 20):
        shutil.rmtree(place)
        place.mkdir()
        (place / f"checkpoint-{step}").mkdir()
        (place / f"checkpoint-{step}" / "w.bin").write_bytes(bytes([step]))
        first.save_work(Artifact("experts", "web", KEY))
    second = machine(tmp_path, "b", url)
    found = second.work_folder(Artifact("experts", "web", KEY))
    assert [p.name for p in found.glob("checkpoint-*")] == ["checkpoint-20"]
    assert (found / "checkpoint-20" / "w.bin").read_bytes() == bytes([20])

    def go_on(scratch):
        second.work_folder(
            Artifact("experts", "web", KEY)
        )  # as whoever makes a unit of this kind does
        build(scratch)

    second.get_or_build(Artifact("experts", "web", KEY), go_on)
    third = machine(tmp_path, "c", url)
    assert not third.work_folder(Artifact("experts", "web", KEY)).exists()


def test_a_machine_goes_on_from_the_checkpoint_that_was_saved_last(tmp_path, url, travels):
    """One that came back with an old checkpoint trained from it, and wrote it over the newer one."""
    artifact = Artifact("experts", "web", KEY)
    first, second = machine(tmp_path, "a", url), machine(tmp_path, "b", url)

    def save(store, step):
        place = store.work_folder(artifact)
        place.mkdir(parents=True, exist_ok=True)
        (place / "step").write_text(str(step))
        store.save_work(artifact)

    def read(name):
        return (machine(tmp_path, name, url).work_folder(artifact) / "step").read_text()

    save(first, 10)
    save(second, 20)
    assert read("a") == read("b") == "20"
    # its own later one stays, also where it could not be sent
    save(first, 30)
    (work_folder_of(first.path(artifact)) / "step").write_text("40")
    assert read("a") == "40"
    assert read("b") == "30"


def test_without_the_url_a_machine_goes_on_from_its_own_checkpoint(tmp_path, monkeypatch, caplog):
    artifact = Artifact("experts", "web", KEY)
    store = machine(tmp_path, "a", f"memory://{tmp_path.name}")
    place = store.work_folder(artifact)
    place.mkdir(parents=True)
    (place / "step").write_text("10")

    def fail(*_, **__):
        raise TimeoutError("timed out")

    monkeypatch.setattr(objects(store)[0], "cat_file", fail)
    assert (store.work_folder(artifact) / "step").read_text() == "10"
    assert "The checkpoint on this machine is used: " in caplog.text


@pytest.mark.parametrize("sends", ["put_file", "pipe_file"])
def test_a_store_that_fails_is_told(tmp_path, monkeypatch, sends):
    journal = machine(tmp_path, "a", f"memory://{tmp_path.name}")
    if sends == "put_file":
        monkeypatch.setattr(bundle, "MAX_INLINE_BYTES", 0)

    def failing(error):
        def fail(*_, **__):
            raise error

        return fail

    files, _ = objects(journal)
    monkeypatch.setattr(files, sends, failing(PermissionError("403 forbidden")))
    with pytest.raises(StorageError, match=r"Storage .* cannot be written \(403 forbidden\)"):
        journal.get_or_build(Artifact("experts", "web", KEY), build)
    # what passes is no reason to end a study
    monkeypatch.setattr(files, sends, failing(TimeoutError("timed out")))
    with pytest.raises(UnreachableError, match=r"does not answer \(timed out\)"):
        journal.get_or_build(Artifact("experts", "web", KEY), build)


def test_a_checkpoint_that_cannot_be_sent_stays_here(tmp_path, monkeypatch, caplog):
    journal = machine(tmp_path, "a", f"memory://{tmp_path.name}")
    place = journal.work_folder(Artifact("experts", "web", KEY))
    place.mkdir(parents=True)
    (place / "w.bin").write_bytes(b"1")

    def fail(*_, **__):
        raise TimeoutError("timed out")

    monkeypatch.setattr(objects(journal)[0], "pipe_file", fail)
    journal.save_work(Artifact("experts", "web", KEY))
    assert "A checkpoint stays on this machine" in caplog.text


def test_what_was_made_before_there_was_a_mirror_is_sent(tmp_path, url):
    ArtifactStore(tmp_path / "a").get_or_build(Artifact("experts", "web", KEY), build)
    assert machine(tmp_path, "a", url).find(Artifact("experts", "web", KEY)) is not None
    assert machine(tmp_path, "b", url).get_or_build(Artifact("experts", "web", KEY), never).is_dir()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_of_two_machines_that_made_one_unit_both_go_on_with_the_first(tmp_path, url, travels, when):
    """GPUs make what differs in its last bits, under one key."""
    a, b = machine(tmp_path, "a", url), machine(tmp_path, "b", url)

    def of(text):
        return lambda scratch: (scratch / "x").write_text(text)

    def late(scratch):
        a.get_or_build(Artifact("experts", "web", KEY), of("a"))
        of("b")(scratch)

    if when == "meanwhile":
        found = b.get_or_build(Artifact("experts", "web", KEY), late)
    else:
        super(RemoteArtifactStore, b).get_or_build(Artifact("experts", "web", KEY), of("b"))
        a.get_or_build(Artifact("experts", "web", KEY), of("a"))
        found = machine(tmp_path, "b", url).get_or_build(Artifact("experts", "web", KEY), never)
    assert (found / "x").read_text() == "a"
    files, root = objects(b)
    left = [path for path in files.find(root) if not path.endswith(MANIFEST)]
    assert len(left) == (travels == "apart")  # what b has sent for nothing is gone


def test_what_another_has_sent_damaged_gives_way_to_ours(tmp_path, url, travels):
    a, b = machine(tmp_path, "a", url), machine(tmp_path, "b", url)

    def late(scratch):
        files, root = objects(a)
        sent = a.get_or_build(
            Artifact("experts", "web", KEY), lambda other: (other / "x").write_text("a")
        )
        path = f"{root}/experts/{sent.name}/{MANIFEST}"
        told = json.loads(files.cat_file(path))
        if travels == "inside":
            files.pipe_file(path, json.dumps(told | {"content": {"x": "AA=="}}).encode())
        else:
            files.pipe_file(f"{root}/experts/{sent.name}/{told['at']}/x", b"\0")
        (scratch / "x").write_text("b")

    assert (b.get_or_build(Artifact("experts", "web", KEY), late) / "x").read_text() == "b"
    assert (
        machine(tmp_path, "c", url).get_or_build(Artifact("experts", "web", KEY), never) / "x"
    ).read_text() == "b"


def test_workers_of_one_machine_fetch_a_unit_once(tmp_path):
    url = str(tmp_path / "storage")
    made = machine(tmp_path, "a", url).get_or_build(Artifact("experts", "web", KEY), build)
    reference = f"experts/{made.name}"
    failed = []

    def fetch():
        try:
            for _ in range(5):
                machine(tmp_path, "shared", url).open(reference)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_manifest_may_not_name_another_folder(tmp_path, url, travels):
    first = machine(tmp_path, "a", url)
    made = first.get_or_build(Artifact("experts", "web", KEY), build)
    files, root = objects(first)
    path = f"{root}/experts/{made.name}/{MANIFEST}"
    told = json.loads(files.cat_file(path))
    files.makedirs(f"{root}/precious", exist_ok=True)
    files.pipe_file(f"{root}/precious/x", b"1")
    files.pipe_file(path, json.dumps(told | {"at": "../../precious"}).encode())
    again = machine(tmp_path, "b", url)
    again.get_or_build(Artifact("experts", "web", KEY), build)
    assert files.exists(f"{root}/precious/x")


def test_what_an_earlier_version_has_sent_is_found(tmp_path, url):
    """Its manifests name a folder for small units too, over several lines."""
    first = machine(tmp_path, "a", url)
    made = first.get_or_build(Artifact("experts", "web", KEY), build)
    files, root = objects(first)
    place, at = f"{root}/experts/{made.name}", "0123456789abcdef"
    for name in ("inner/x.bin", "told.json"):
        files.makedirs(f"{place}/{at}/inner", exist_ok=True)
        files.pipe_file(f"{place}/{at}/{name}", (made / name).read_bytes())
    told = json.loads((made / MANIFEST).read_text()) | {"at": at}
    files.pipe_file(f"{place}/{MANIFEST}", json.dumps(told, indent=2).encode())
    assert machine(tmp_path, "b", url).get_or_build(Artifact("experts", "web", KEY), never).is_dir()


def test_a_candidate_costs_its_worker_two_requests_and_its_driver_one(tmp_path):
    url = f"memory://{tmp_path.name}"
    driver, worker = machine(tmp_path, "driver", url), machine(tmp_path, "worker", url)
    keys = [{"weights": [index / 20, 0.5]} for index in range(20)]
    names = [f"candidate-{index}" for index in range(20)]
    worker.get_or_build(
        Artifact("scores", "candidate-first", KEY), candidate
    )  # after which there is a bucket
    at_driver, at_worker = Counted(driver), Counted(worker)
    for name, key in zip(names, keys, strict=True):
        assert driver.find(Artifact("scores", name, key)) is None
    assert at_driver.asked == ["cat_file", "ls"]  # of all of them
    at_driver.asked.clear()
    for name, key in zip(names, keys, strict=True):
        worker.get_or_build(Artifact("scores", name, key), candidate)
        assert at_worker.asked == ["cat_file", "pipe_file"]
        at_worker.asked.clear()
        for _ in range(3):  # once it is here nobody is asked any more
            assert driver.find(Artifact("scores", name, key)) is not None
        assert at_driver.asked == ["cat_file"]
        at_driver.asked.clear()
    worker.get_or_build(Artifact("scores", names[0], keys[0]), never)
    assert at_worker.asked == []


def test_a_large_unit_costs_a_request_for_each_file_more(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "MAX_INLINE_BYTES", 0)
    url = f"memory://{tmp_path.name}"
    driver, worker = machine(tmp_path, "driver", url), machine(tmp_path, "worker", url)
    worker.get_or_build(Artifact("scores", "candidate-first", KEY), candidate)
    at_driver, at_worker = Counted(driver), Counted(worker)
    worker.get_or_build(Artifact("scores", "candidate-1", KEY), candidate)
    # looked for before and after, so that nothing large is sent for nothing
    assert at_worker.asked == ["cat_file"] * 2 + ["put_file"] * 4 + ["pipe_file"]
    assert driver.find(Artifact("scores", "candidate-1", KEY)) is not None
    assert at_driver.asked == ["cat_file"] + ["get_file"] * 4


def test_only_who_asked_for_a_workplace_looks_for_it_when_a_unit_is_made(tmp_path):
    journal = machine(tmp_path, "a", f"memory://{tmp_path.name}")
    journal.get_or_build(Artifact("scores", "candidate-first", KEY), candidate)
    counted = Counted(journal)

    def train(scratch):
        journal.work_folder(Artifact("experts", "web", KEY))
        build(scratch)

    journal.get_or_build(Artifact("experts", "web", KEY), train)
    assert counted.asked == ["cat_file", "cat_file", "pipe_file", "cat_file"]


def test_what_a_list_lacked_is_found_by_who_asks_again(tmp_path, url):
    driver, other = machine(tmp_path, "a", url), machine(tmp_path, "b", url)
    for name in ("x", "y"):  # the second has the kind listed
        assert driver.find(Artifact("scores", name, KEY)) is None
    for name in ("y", "z"):
        other.get_or_build(Artifact("scores", name, KEY), build)
    assert driver.find(Artifact("scores", "y", KEY)) is not None
    assert (
        driver.find(Artifact("scores", "z", KEY)) is None
    )  # it was not there when the kind was listed
    assert driver.find(Artifact("scores", "z", KEY)) is not None
    assert driver.get_or_build(Artifact("scores", "z", KEY), never).is_dir()
    other.get_or_build(Artifact("scores", "w", KEY), build)
    assert driver.get_or_build(
        Artifact("scores", "w", KEY), never
    ).is_dir()  # who makes does not trust a list


def test_the_bundle_of_another_artifact_is_not_used(tmp_path, url, travels, caplog):
    one, other = (Artifact("experts", name, KEY) for name in ("web", "code"))
    first = RemoteArtifactStore(tmp_path / "a", url)
    first.get_or_build(other, lambda scratch: (scratch / "x").write_text("theirs"))
    files, root = first._storage._files, first._storage._root
    files.copy(f"{root}/{other.reference}", f"{root}/{one.reference}", recursive=True)
    second = RemoteArtifactStore(tmp_path / "b", url)
    found = second.get_or_build(one, lambda scratch: (scratch / "x").write_text("ours"))
    assert (found / "x").read_text() == "ours"
    assert "is damaged (it is 'experts/code-" in caplog.text
