import errno

import pytest

from mixopt.callbacks.mlflow.queue import Session
from mixopt.errors import StorageError


def begun(tmp_path):
    session = Session.begin(tmp_path / "spool", {"uri": "somewhere"})
    for index in range(3):
        session.add({"do": "batch", "run": "a", "n": index})
    return session


def test_records_come_in_order_until_they_are_ticked_off(tmp_path):
    session = begun(tmp_path)
    assert session.about == {"uri": "somewhere"}
    assert session.claim()
    for index in range(3):
        assert session.waiting == 3 - index
        assert session.next()["n"] == index
        session.tick({"a": "7"} if index == 0 else None)
    assert session.next() is None
    session.add({"do": "end", "run": "a"})
    assert session.next() == {"do": "end", "run": "a"}
    assert session.names == {"a": "7"}
    session.tick()
    session.remove()
    assert list((tmp_path / "spool").iterdir()) == []


def test_another_process_goes_on_where_one_was_stopped(tmp_path):
    session = begun(tmp_path)
    session.claim()
    session.tick({"a": "7"})
    session.release()
    (again,) = Session.left_in(tmp_path / "spool")
    assert again.waiting == 2
    assert again.claim()
    assert again.next()["n"] == 1
    assert again.names == {"a": "7"}


def test_only_one_may_send(tmp_path):
    session = begun(tmp_path)
    assert session.claim()
    (other,) = Session.left_in(tmp_path / "spool")
    assert not other.claim()
    session.release()
    assert other.claim()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_record_that_a_crash_cut_off_counts_for_nothing(tmp_path, cut):
    session = begun(tmp_path)
    content = session.path.read_bytes()
    session.path.write_bytes(content[:-cut])
    (again,) = Session.left_in(tmp_path / "spool")
    assert again.waiting == 2


def test_a_tick_that_a_crash_cut_off_is_made_again(tmp_path):
    session = begun(tmp_path)
    session.claim()
    session.tick({"a": "7"})
    session.tick({"b": "8"})
    session.release()
    ticks = session.path.with_suffix(".sent")
    ticks.write_bytes(ticks.read_bytes()[:-4])
    (again,) = Session.left_in(tmp_path / "spool")
    again.claim()
    assert again.next()["n"] == 1  # sent again
    again.tick({"b": "8"})
    again.tick()
    assert again.next() is None
    again.release()
    (third,) = Session.left_in(tmp_path / "spool")
    assert (third.sent, third.names) == (3, {"a": "7", "b": "8"})


def test_runs_of_a_command_that_was_killed_are_known(tmp_path):
    session = Session.begin(tmp_path / "spool", {})
    for do, run in (("run", "a"), ("run", "b"), ("end", "b")):
        session.add({"do": do, "run": run})
    assert session.unended == {"a"}


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(Exception, match="cannot be written") as told:
        Session.begin(tmp_path / "spool", {})
    assert isinstance(told.value, StorageError | ValueError)


def test_a_disk_that_is_full_in_a_record_leaves_the_others_whole(tmp_path, monkeypatch):
    session = begun(tmp_path)
    original, before = type(session.path).open, session.path.stat().st_size

    def opened(self, mode="r", **rest):
        stream = original(self, mode, **rest)
        if mode != "ab" or self != session.path:
            return stream

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                stream.close()

            def write(self, line):
                if stream.tell() == before:
                    return stream.write(line[:10])
                raise OSError(errno.ENOSPC, "No space left on device")

            seek, truncate = stream.seek, stream.truncate

        return Full()

    monkeypatch.setattr(type(session.path), "open", opened)
    with pytest.raises(StorageError, match="disk is full"):
        session.add({"do": "batch", "run": "a", "long": "x" * 50})
    monkeypatch.undo()
    session.add({"do": "end", "run": "a"})
    (again,) = Session.left_in(tmp_path / "spool")
    assert again.waiting == 4


def test_a_line_that_was_spoiled_has_its_place_and_is_not_sent(tmp_path):
    session = begun(tmp_path)
    lines = session.path.read_bytes().splitlines()
    session.path.write_bytes(b"\n".join([lines[0], b'{"do": "ba', *lines[2:]]) + b"\n")
    (again,) = Session.left_in(tmp_path / "spool")
    again.claim()
    assert again.next()["do"] == "lost"
    again.tick()
    assert again.next()["n"] == 1


def test_nothing_waits_of_what_was_removed(tmp_path):
    session = begun(tmp_path)
    session.claim()
    session.remove()
    assert session.waiting == 0
