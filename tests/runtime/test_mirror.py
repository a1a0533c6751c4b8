import json
import shutil
import threading

import fsspec
import numpy as np
import pytest

from mixopt.errors import StorageError, UnreachableError, UserError
from mixopt.runtime.journal import Journal
from mixopt.runtime.mirror import MirroredJournal
from mixopt.units import MANIFEST, Unit

KEY = {"of": "text", "seed": 3}


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    """A disk that machines share, and a store of objects without folders or renames."""
    if request.param == "file":
        yield str(tmp_path / "storage")
        return
    yield f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").store.clear()


def machine(tmp_path, name, url):
    return MirroredJournal(tmp_path / name, url)


def build(scratch):
    (scratch / "inner").mkdir()
    (scratch / "inner" / "x.bin").write_bytes(bytes(range(256)))
    (scratch / "told.json").write_text('{"a": 1}')


def never(_):
    pytest.fail("made again")


def test_what_one_machine_made_another_finds_whole(tmp_path, url):
    made = machine(tmp_path, "a", url).make("experts", "web", KEY, build)
    found = machine(tmp_path, "b", url).make("experts", "web", KEY, never)
    assert found.parent == tmp_path / "b" / "experts"
    assert (found / "inner" / "x.bin").read_bytes() == bytes(range(256))
    assert Unit.read(found).key == Unit.read(made).key == KEY
    assert Unit.read(found).find_damage() is None
    assert machine(tmp_path, "c", url).open(f"experts/{made.name}").is_dir()
    assert [p.name for p in machine(tmp_path, "d", url).find_all("experts", "web")] == [made.name]
    assert {p.name for p in machine(tmp_path, "e", url).list_kind("experts")} == {made.name}


def test_what_nobody_made_is_not_found(tmp_path, url):
    journal = machine(tmp_path, "a", url)
    assert journal.find("experts", "web", KEY) is None
    assert list(journal.find_all("experts", "web")) == []
    with pytest.raises(StorageError, match="is not there or damaged; run again"):
        journal.open("experts/web-1")


def test_a_unit_without_its_manifest_is_not_there(tmp_path, url):
    """Files come first: a machine that goes away while it sends leaves nothing behind to be found."""
    journal = machine(tmp_path, "a", url)
    made = journal.make("experts", "web", KEY, build)
    journal._files.rm(f"{journal._root}/experts/{made.name}/{MANIFEST}")
    assert machine(tmp_path, "b", url).find("experts", "web", KEY) is None


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "manifest"])
def test_what_was_damaged_in_storage_is_made_again(tmp_path, url, damage, caplog):
    first = machine(tmp_path, "a", url)
    made = first.make("experts", "web", KEY, build)
    files, root = first._files, f"{first._root}/experts/{made.name}"
    manifest = json.loads(files.cat_file(f"{root}/{MANIFEST}"))
    place = f"{root}/{manifest['at']}/inner/x.bin"
    if damage == "flipped":
        files.pipe_file(place, b"\x01" + bytes(range(1, 256)))
    elif damage == "cut":
        files.pipe_file(place, bytes(range(100)))
    elif damage == "missing":
        files.rm(place)
    else:
        files.pipe_file(f"{root}/{MANIFEST}", b'{"key": {}, "files"')
    again = machine(tmp_path, "b", url)
    found = again.make("experts", "web", KEY, build)
    assert Unit.read(found).find_damage() is None
    if damage != "manifest":
        assert "is damaged" in caplog.text
    assert machine(tmp_path, "c", url).make("experts", "web", KEY, never).is_dir()


def test_a_manifest_may_not_name_files_outside(tmp_path, url, caplog):
    first = machine(tmp_path, "a", url)
    made = first.make("experts", "web", KEY, build)
    path = f"{first._root}/experts/{made.name}/{MANIFEST}"
    manifest = json.loads(first._files.cat_file(path))
    manifest["files"]["../../../escaped"] = [1, "0"]
    first._files.pipe_file(path, json.dumps(manifest).encode())
    assert machine(tmp_path, "b", url).find("experts", "web", KEY) is None
    assert not list(tmp_path.rglob("escaped"))


def test_of_two_makers_everybody_ends_with_one_makers_files(tmp_path, url):
    def noisy(seed):
        def write(scratch):
            for name in ("x", "y"):
                np.save(scratch / f"{name}.npy", np.full(3, seed))

        return write

    a, b = machine(tmp_path, "a", url), machine(tmp_path, "b", url)
    super(MirroredJournal, b).make("experts", "web", KEY, noisy(2))  # before it could see a's
    a.make("experts", "web", KEY, noisy(1))
    b.make("experts", "web", KEY, never)
    found = machine(tmp_path, "c", url).make("experts", "web", KEY, never)
    assert {np.load(found / f"{name}.npy")[0] for name in ("x", "y")} == {1}


def test_what_is_begun_goes_on_elsewhere_and_is_gone_when_it_is_made(tmp_path, url):
    first = machine(tmp_path, "a", url)
    place = first.workplace("experts", "web", KEY)
    place.mkdir(parents=True)
    for step in (10, 20):
        shutil.rmtree(place)
        place.mkdir()
        (place / f"checkpoint-{step}").mkdir()
        (place / f"checkpoint-{step}" / "w.bin").write_bytes(bytes([step]))
        first.keep("experts", "web", KEY)
    second = machine(tmp_path, "b", url)
    found = second.workplace("experts", "web", KEY)
    assert [p.name for p in found.glob("checkpoint-*")] == ["checkpoint-20"]
    assert (found / "checkpoint-20" / "w.bin").read_bytes() == bytes([20])
    second.make("experts", "web", KEY, build)
    third = machine(tmp_path, "c", url)
    assert not third.workplace("experts", "web", KEY).exists()


def test_a_url_that_cannot_be_opened_is_told(tmp_path):
    with pytest.raises(UserError, match="Storage 'nothing://x' cannot be opened"):
        MirroredJournal(tmp_path, "nothing://x")


def test_a_store_that_fails_is_told(tmp_path, url, monkeypatch):
    journal = machine(tmp_path, "a", url)

    def fails(error):
        def put_file(*_, **__):
            raise error

        return put_file

    monkeypatch.setattr(journal._files, "put_file", fails(PermissionError("403 forbidden")))
    with pytest.raises(StorageError, match=r"Storage .* cannot be written \(403 forbidden\)"):
        journal.make("experts", "web", KEY, build)
    # what passes is no reason to end a study
    monkeypatch.setattr(journal._files, "put_file", fails(TimeoutError("timed out")))
    with pytest.raises(UnreachableError, match=r"does not answer \(timed out\)"):
        journal.make("experts", "web", KEY, build)


def test_a_checkpoint_that_cannot_be_sent_stays_here(tmp_path, url, monkeypatch, caplog):
    journal = machine(tmp_path, "a", url)
    place = journal.workplace("experts", "web", KEY)
    place.mkdir(parents=True)
    (place / "w.bin").write_bytes(b"1")

    def put_file(*_, **__):
        raise TimeoutError("timed out")

    monkeypatch.setattr(journal._files, "put_file", put_file)
    journal.keep("experts", "web", KEY)
    assert "A checkpoint stays on this machine" in caplog.text


def test_what_was_made_before_there_was_a_mirror_is_sent(tmp_path, url):
    Journal(tmp_path / "a").make("experts", "web", KEY, build)
    assert machine(tmp_path, "a", url).find("experts", "web", KEY) is not None
    assert machine(tmp_path, "b", url).make("experts", "web", KEY, never).is_dir()


def test_of_two_machines_that_made_one_unit_both_go_on_with_the_first(tmp_path, url):
    """GPUs make what differs in its last bits, under one key."""

    def of(text):
        return lambda scratch: (scratch / "x").write_text(text)

    a, b = machine(tmp_path, "a", url), machine(tmp_path, "b", url)
    super(MirroredJournal, b).make("experts", "web", KEY, of("b"))
    a.make("experts", "web", KEY, of("a"))
    found = machine(tmp_path, "b", url).make("experts", "web", KEY, never)
    assert (found / "x").read_text() == "a"


def test_workers_of_one_machine_fetch_a_unit_once(tmp_path):
    url = str(tmp_path / "storage")
    made = machine(tmp_path, "a", url).make("experts", "web", KEY, build)
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


def test_a_manifest_may_not_name_another_folder(tmp_path, url):
    first = machine(tmp_path, "a", url)
    made = first.make("experts", "web", KEY, build)
    path = f"{first._root}/experts/{made.name}/{MANIFEST}"
    manifest = json.loads(first._files.cat_file(path))
    first._files.makedirs(f"{first._root}/precious", exist_ok=True)
    first._files.pipe_file(f"{first._root}/precious/x", b"1")
    first._files.pipe_file(path, json.dumps(manifest | {"at": "../../precious"}).encode())
    again = machine(tmp_path, "b", url)
    again.make("experts", "web", KEY, build)
    assert first._files.exists(f"{first._root}/precious/x")
