import errno
import os

import fsspec
import pytest

from mixopt.artifacts.object_storage import Storage
from mixopt.errors import StorageError, UnreachableError, UserError


@pytest.fixture(params=["file", "memory"])
def storage(request, tmp_path):
    """A shared disk, and an object store without folders and renames."""
    yield Storage(
        str(tmp_path / "storage") if request.param == "file" else f"memory://{tmp_path.name}"
    )
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def objects(tmp_path):
    yield Storage(f"memory://{tmp_path.name}")
    fsspec.filesystem("memory").store.clear()


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def failing_by_mode(error):
    def pipe_file(path, value, mode="overwrite"):
        raise error

    return pipe_file


class NoAnswerError(Exception):
    """What a store's library raises need not be an OSError."""


def test_a_url_that_cannot_be_opened_is_an_error():
    with pytest.raises(UserError, match="Storage 'nothing://x' cannot be opened"):
        Storage("nothing://x")


def test_an_object_is_read_as_it_was_written(storage):
    assert storage.read("a/b/x", 10) is None
    for content in (b"first", b"second", b""):
        storage.write("a/b/x", content)
        assert storage.read("a/b/x", 100) == content
    storage.write("a/c/x", b"")
    assert sorted(storage.list_names("a")) == ["b", "c"]
    assert storage.list_names("a/b") == ["x"]  # nothing is left beside it
    assert storage.list_names("nowhere") == []


def test_at_most_max_bytes_are_read(storage):
    storage.write("x", b"0123456789" * 1000)
    assert storage.read("x", 12) == b"012345678901"


def test_only_the_first_creates(storage):
    assert storage.create("a/x", b"first")
    assert not storage.create("a/x", b"second")
    assert storage.read("a/x", 100) == b"first"
    assert storage.list_names("a") == ["x"]


def test_a_folder_is_no_object(storage):
    storage.write("a/b/x", b"1")
    assert storage.read("a/b", 10) is None
    assert storage.read("a/b/x/y", 10) is None


def test_files_are_uploaded_and_downloaded(storage, tmp_path):
    here = tmp_path / "here"
    (here / "inner").mkdir(parents=True)
    for name in ("x", "inner/y"):
        (here / name).write_text(name)
    storage.send(here, ["x", "inner/y"], "a/b")
    assert storage.fetch("a/b/inner/y", tmp_path / "y")
    assert (tmp_path / "y").read_text() == "inner/y"
    assert not storage.fetch("a/b/z", tmp_path / "z")


def test_objects_are_removed_and_may_be_missing(storage):
    for name in ("a/x", "a/at/y", "a/at/inner/z"):
        storage.write(name, b"1")
    for _ in range(2):
        storage.remove("a/x")
        storage.remove("a/at", folder=True)
    assert storage.read("a/x", 1) is storage.read("a/at/inner/z", 1) is None


def test_a_disk_without_hard_links_creates_too(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path / "storage"))
    monkeypatch.setattr(os, "link", failing(OSError(errno.ENOTSUP, "not supported")))
    assert storage.create("a/x", b"first")
    assert not storage.create("a/x", b"second")
    assert storage.read("a/x", 100) == b"first"
    assert storage.list_names("a") == ["x"]


@pytest.mark.parametrize("error", [
    FileExistsError(), OSError(errno.EINVAL, "PreconditionFailed"), NoAnswerError(),
    OSError(errno.ENOSYS, "A header implies functionality that is not implemented"),
])  # fmt: skip
def test_a_store_without_conditional_write_creates_nothing(objects, monkeypatch, error):
    """Its library raises an error of its own if the object exists or it cannot know."""
    monkeypatch.setattr(objects._files, "pipe_file", failing_by_mode(error))
    assert not objects.create("x", b"1")


def test_a_library_without_mode_creates_nothing(objects, monkeypatch):
    sent = []
    monkeypatch.setattr(objects._files, "pipe_file", lambda path, value: sent.append(path))
    assert not objects.create("x", b"1")
    assert sent == []
    objects.write("x", b"1")
    assert len(sent) == 1


def test_a_missing_bucket_is_an_error(objects, monkeypatch):
    gone = FileNotFoundError("The specified bucket does not exist")
    monkeypatch.setattr(objects._files, "pipe_file", failing_by_mode(gone))
    for write in (objects.write, objects.create):
        with pytest.raises(
            StorageError, match=r"cannot be written \(The specified bucket does not"
        ):
            write("x", b"1")


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "storage").write_text("no folder")
    storage = Storage(str(tmp_path / "storage"))
    assert storage.read("a/x", 10) is None
    for write in (storage.write, storage.create):
        with pytest.raises(StorageError, match="cannot be written"):
            write("a/x", b"1")
    (tmp_path / "other" / "x").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be written"):
        Storage(str(tmp_path / "other")).write("x", b"1")


@pytest.mark.parametrize("error", [TimeoutError("timed out"), NoAnswerError("timed out")])
def test_a_store_that_does_not_answer_is_unreachable_whatever_it_raises(
    objects, tmp_path, monkeypatch, error
):
    (tmp_path / "f").write_text("1")
    objects.write("x", b"1")
    for asked in ("cat_file", "info", "get_file", "put_file", "pipe_file", "ls", "rm_file"):
        monkeypatch.setattr(objects._files, asked, failing(error))
    for ask in (
        lambda: objects.read("x", 1), lambda: objects.write("x", b"1"),
        lambda: objects.fetch("x", tmp_path / "g"), lambda: objects.send(tmp_path, ["f"], "a"),
        lambda: objects.list_names("a"), lambda: objects.remove("x"),
    ):  # fmt: skip
        with pytest.raises(
            UnreachableError, match=r"does not answer \(timed out\); run again when"
        ):
            ask()


def test_a_store_that_is_forbidden_or_full_is_an_error(objects, tmp_path, monkeypatch):
    objects.write("x", b"1")
    monkeypatch.setattr(objects._files, "cat_file", failing(PermissionError("403")))
    with pytest.raises(StorageError, match=r"cannot be read \(403\); fix it"):
        objects.read("x", 1)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(objects._files, "pipe_file", failing(full))
    with pytest.raises(StorageError, match="cannot be written"):
        objects.write("x", b"1")
    # the full disk is the local one, which the caller reports
    monkeypatch.setattr(objects._files, "get_file", failing(full))
    with pytest.raises(OSError, match="No space left on device"):
        objects.fetch("x", tmp_path / "g")


def test_an_empty_object_without_ranges_is_read(objects, monkeypatch):
    """S3 answers 416 to a range of it."""
    objects.write("x", b"")
    invalid = OSError(errno.EINVAL, "The requested range is not satisfiable")
    monkeypatch.setattr(objects._files, "cat_file", failing(invalid))
    assert objects.read("x", 10) == b""


def test_folders_are_made_only_where_a_store_has_them(tmp_path):
    made = []

    def watch(storage):
        makedirs = storage._files.makedirs
        storage._files.makedirs = lambda *given, **named: (
            made.append(given[0]),
            makedirs(*given, **named),
        )

    flat, disk = Storage(f"memory://{tmp_path.name}"), Storage(str(tmp_path / "storage"))
    try:
        watch(flat)
        for name in ("a/x", "b/x"):
            flat.write(name, b"1")
        assert made == [f"/{tmp_path.name}"]  # the bucket, once
        made.clear()
        watch(disk)
        (tmp_path / "here").mkdir()
        for name in ("x", "y"):
            (tmp_path / "here" / name).write_text("1")
        disk.send(tmp_path / "here", ["x", "y"], "a")
        assert made == [f"{tmp_path}/storage/a"]  # once for both
    finally:
        for storage in (flat, disk):
            del storage._files.makedirs
        fsspec.filesystem("memory").store.clear()
