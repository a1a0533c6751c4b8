import hashlib
import os
import time

import pytest

from mixopt.io import content_hash
from mixopt.io.content_hash import hash_content, user_cache


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were read, in order; files of any size count as large."""
    names, real = [], content_hash._hash
    monkeypatch.setattr(content_hash, "LARGE", 4)
    monkeypatch.setattr(content_hash, "_hash", lambda file: names.append(file.name) or real(file))
    return names


def written(path, text="weights", age=60):
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def later(monkeypatch):
    """The clock is a minute ahead, so that what was just written has settled."""
    monkeypatch.setattr(content_hash.time, "time", lambda now=time.time: now() + 60)


def test_a_hash_is_of_the_content(tmp_path):
    file = written(tmp_path / "a")
    assert hash_content(file) == hashlib.blake2b(b"weights").hexdigest()[:32]


@pytest.mark.usefixtures("later")
def test_a_large_file_is_read_once_while_it_does_not_change(tmp_path, reads):
    file = written(tmp_path / "a")
    first = hash_content(file)
    assert hash_content(file) == first
    assert reads == ["a"]
    assert hash_content(file, read=True) == first
    assert reads == ["a", "a"]


@pytest.mark.usefixtures("later")
def test_a_change_with_the_same_size_and_time_is_seen(tmp_path, reads):
    file = written(tmp_path / "a")
    first, times = hash_content(file), file.stat()
    time.sleep(0.02)  # change times have the resolution of the kernel's clock
    file.write_text("WEIGHTS")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert hash_content(file) == hashlib.blake2b(b"WEIGHTS").hexdigest()[:32] != first


@pytest.mark.usefixtures("later")
def test_another_file_in_its_place_is_seen(tmp_path, reads):
    file, other = written(tmp_path / "a"), written(tmp_path / "b", "WEIGHTS")
    hash_content(file)
    other.replace(file)
    assert hash_content(file) == hashlib.blake2b(b"WEIGHTS").hexdigest()[:32]


def test_a_file_that_was_just_written_is_read_again(tmp_path, reads):
    file = tmp_path / "a"
    file.write_text("weights")
    hash_content(file)
    hash_content(file)
    assert reads == ["a", "a"]


def test_small_files_leave_no_note(tmp_path):
    hash_content(written(tmp_path / "a"))
    assert not (user_cache() / "content-hashes").exists()


@pytest.mark.usefixtures("later")
def test_a_damaged_note_is_made_again(tmp_path, reads):
    file = written(tmp_path / "a")
    first = hash_content(file)
    (note,) = (each for each in (user_cache() / "content-hashes").rglob("*") if each.is_file())
    note.write_bytes(b"\xff")
    assert hash_content(file) == first
    assert hash_content(file) == first
    assert reads == ["a", "a"]


@pytest.mark.usefixtures("later")
def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path, reads, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIXOPT_CACHE", str(tmp_path / "file"))
    file = written(tmp_path / "a")
    assert hash_content(file) == hash_content(file)
    assert reads == ["a", "a"]


def test_the_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("MIXOPT_CACHE", str(tmp_path / "own"))
    assert user_cache() == tmp_path / "own"
    monkeypatch.delenv("MIXOPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "mixopt"
