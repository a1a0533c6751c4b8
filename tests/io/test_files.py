import errno
import os
import resource
import stat
from types import SimpleNamespace

import pytest
import torch

from mixopt.errors import OutputError, StorageError
from mixopt.io.files import publish_file, publish_folder, resume_folder, write_text


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_folder_appears_whole(tmp_path):
    with publish_folder(tmp_path / "artifact") as scratch:
        (scratch / "a").write_text("1")
        assert not (tmp_path / "artifact").exists()
    assert (tmp_path / "artifact" / "a").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["artifact"]


def test_a_name_that_no_disk_takes_is_one_sentence(tmp_path):
    with pytest.raises(OutputError, match=r"cannot be written \(File name too long"):
        write_text(tmp_path / ("x" * 300), "")


def test_folder_that_fails_leaves_nothing(tmp_path):
    def build():
        with publish_folder(tmp_path / "artifact") as scratch:
            (scratch / "a").write_text("1")
            raise KeyError("x")

    with pytest.raises(KeyError):
        build()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_while_building_is_one_sentence_and_leaves_nothing(tmp_path):
    with pytest.raises(StorageError, match="disk is full"), publish_folder(tmp_path / "artifact"):
        full_disk()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_told_by_another_library(tmp_path):
    with pytest.raises(StorageError, match="disk is full"), publish_folder(tmp_path / "artifact"):
        raise RuntimeError("I/O error: No space left on device (os error 28)")


@pytest.fixture
def no_large_files():
    """Files of at most 1,000 bytes, beyond which writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("no_large_files")
@pytest.mark.parametrize("free", [1000, 10**12])
def test_full_disk_that_torch_does_not_name(tmp_path, monkeypatch, free):
    """Its writer says `unexpected pos 704 vs 598`, as for any file that could not be written."""
    usage = SimpleNamespace(free=free)
    monkeypatch.setattr("mixopt.io.files.shutil.disk_usage", lambda path: usage)
    wanted = (StorageError, "disk is full") if free == 1000 else (RuntimeError, "unexpected pos")
    with (
        pytest.raises(wanted[0], match=wanted[1]),
        publish_folder(tmp_path / "artifact") as scratch,
    ):
        torch.save({"step": torch.zeros(10_000)}, scratch / "optimizer.pt")
    assert list(tmp_path.iterdir()) == []


def test_text_keeps_the_old_file_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = write_text(tmp_path / "x", "old")
    monkeypatch.setattr("os.fdopen", full_disk)
    with pytest.raises(StorageError, match="disk is full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_place_that_cannot_be_written(tmp_path):
    with pytest.raises(StorageError, match="permission"), publish_folder(tmp_path / "artifact"):
        raise PermissionError(errno.EACCES, "denied")


def test_a_new_file_appears_whole_and_replaces_none(tmp_path):
    path = tmp_path / "x"

    def be_killed():
        with publish_file(path) as place:
            place.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        be_killed()
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        with publish_file(path) as place:
            assert not path.exists() or path.read_text() == "first"
            place.write_text(text)
    assert path.read_text() == "first"
    path.write_text("")
    with publish_file(path) as place:
        place.write_text("third")
    assert path.read_text() == "third"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(("umask", "file", "folder"), [
    (0o022, 0o644, 0o755), (0o077, 0o600, 0o700), (0o002, 0o664, 0o775),
])  # fmt: skip
def test_modes_follow_the_umask(tmp_path, umask, file, folder):
    """Results of a group's members are for the group, those of a cautious user for nobody else."""
    before = os.umask(umask)
    try:
        write_text(tmp_path / "text", "x")
        with publish_file(tmp_path / "file") as scratch:
            scratch.write_text("x")
        with publish_folder(tmp_path / "folder") as scratch:
            (scratch / "x").write_text("x")
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert modes == {"text": file, "file": file, "folder": folder}


def test_a_folder_that_resumes_is_written_by_one_process_at_a_time(tmp_path):
    folder = tmp_path / "deep" / "out"

    def again(key):
        with resume_folder(folder, key) as scratch:
            (scratch / "b").write_text("2")

    def stop_within():
        with resume_folder(folder, "key") as scratch:
            (scratch / "a").write_text("1")
            for key in ("key", "other"):
                with pytest.raises(OutputError, match=r"Another process is writing .*out; wait"):
                    again(key)
            raise KeyError

    with pytest.raises(KeyError):
        stop_within()
    again("key")
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    with pytest.raises(OutputError, match="is there already"):
        again("key")
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
