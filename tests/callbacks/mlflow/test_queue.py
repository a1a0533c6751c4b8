import errno
import os

import pytest

from mixopt.callbacks.mlflow.queue import RecordQueue
from mixopt.errors import OutputError, StorageError
from mixopt.io.files import write_text


def filled(tmp_path):
    queue = RecordQueue.create(tmp_path / "spool", {"uri": "somewhere"})
    for index in range(3):
        queue.append({"do": "batch", "run": "a", "n": index})
    return queue


def test_records_come_in_order_until_they_are_delivered(tmp_path):
    queue = filled(tmp_path)
    assert queue.header == {"uri": "somewhere"}
    assert queue.lock()
    for index in range(3):
        assert queue.n_pending == 3 - index
        assert queue.peek()["n"] == index
        queue.mark_delivered({"a": "7"} if index == 0 else None)
    assert queue.peek() is None
    queue.append({"do": "end", "run": "a"})
    assert queue.peek() == {"do": "end", "run": "a"}
    assert queue.run_ids == {"a": "7"}
    queue.mark_delivered()
    queue.remove()
    assert list((tmp_path / "spool").iterdir()) == []


def test_another_process_continues_after_the_last_delivery(tmp_path):
    queue = filled(tmp_path)
    queue.lock()
    queue.mark_delivered({"a": "7"})
    queue.unlock()
    (again,) = RecordQueue.list_in(tmp_path / "spool")
    assert again.n_pending == 2
    assert again.lock()
    assert again.peek()["n"] == 1
    assert again.run_ids == {"a": "7"}


def test_one_process_at_a_time_delivers(tmp_path):
    queue = filled(tmp_path)
    assert queue.lock()
    (other,) = RecordQueue.list_in(tmp_path / "spool")
    assert not other.lock()
    queue.unlock()
    assert other.lock()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_record_that_a_crash_cut_off_is_ignored(tmp_path, cut):
    queue = filled(tmp_path)
    content = queue.path.read_bytes()
    queue.path.write_bytes(content[:-cut])
    (again,) = RecordQueue.list_in(tmp_path / "spool")
    assert again.n_pending == 2


def test_a_delivery_that_a_crash_cut_off_is_repeated(tmp_path):
    queue = filled(tmp_path)
    queue.lock()
    queue.mark_delivered({"a": "7"})
    queue.mark_delivered({"b": "8"})
    queue.unlock()
    deliveries = queue.path.with_suffix(".sent")
    deliveries.write_bytes(deliveries.read_bytes()[:-4])
    (again,) = RecordQueue.list_in(tmp_path / "spool")
    again.lock()
    assert again.peek()["n"] == 1  # sent again
    again.mark_delivered({"b": "8"})
    again.mark_delivered()
    assert again.peek() is None
    again.unlock()
    (third,) = RecordQueue.list_in(tmp_path / "spool")
    assert (third.n_delivered, third.run_ids) == (3, {"a": "7", "b": "8"})


def test_runs_of_a_killed_command_are_open(tmp_path):
    queue = RecordQueue.create(tmp_path / "spool", {})
    for do, run in (("run", "a"), ("run", "b"), ("end", "b")):
        queue.append({"do": do, "run": run})
    assert queue.open_runs == {"a"}


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(Exception, match="cannot be written") as raised:
        RecordQueue.create(tmp_path / "spool", {})
    assert isinstance(raised.value, StorageError | ValueError)


def test_a_full_disk_does_not_damage_other_records(tmp_path, monkeypatch):
    queue = filled(tmp_path)
    original, before = type(queue.path).open, queue.path.stat().st_size

    def opened(self, mode="r", **rest):
        stream = original(self, mode, **rest)
        if mode != "ab" or self != queue.path:
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

    monkeypatch.setattr(type(queue.path), "open", opened)
    with pytest.raises(StorageError, match="disk is full"):
        queue.append({"do": "batch", "run": "a", "long": "x" * 50})
    monkeypatch.undo()
    queue.append({"do": "end", "run": "a"})
    (again,) = RecordQueue.list_in(tmp_path / "spool")
    assert again.n_pending == 4


def test_a_damaged_line_keeps_its_number(tmp_path):
    queue = filled(tmp_path)
    lines = queue.path.read_bytes().splitlines()
    queue.path.write_bytes(b"\n".join([lines[0], b'{"do": "ba', *lines[2:]]) + b"\n")
    (again,) = RecordQueue.list_in(tmp_path / "spool")
    again.lock()
    assert again.peek()["do"] == "lost"
    again.mark_delivered()
    assert again.peek()["n"] == 1


def test_nothing_is_pending_in_a_removed_queue(tmp_path):
    queue = filled(tmp_path)
    queue.lock()
    queue.remove()
    assert queue.n_pending == 0


@pytest.mark.parametrize("links", [True, False])
def test_a_kept_file_stays_as_it_was_and_goes_with_its_queue(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    queue = RecordQueue.create(tmp_path / "spool", {"uri": "x"})
    places = []
    for text in ("old", "new"):
        write_text(tmp_path / "report.html", text)
        places.append(queue.keep(tmp_path / "report.html"))
    assert [place.read_text() for place in places] == ["old", "new"]
    assert {place.name for place in places} == {"report.html"}
    assert places[0].is_relative_to(tmp_path / "spool")
    (tmp_path / "link").symlink_to(tmp_path / "report.html")
    assert queue.keep(tmp_path / "link") == tmp_path / "link"
    assert len(RecordQueue.list_in(tmp_path / "spool")) == 1
    queue.lock()
    queue.remove()
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("linked", [".sent", ".jsonl", ".lock", ".files"])
def test_queues_with_links_are_not_opened(tmp_path, linked):
    """A stranger's link would have a file of the user's written."""
    queue = filled(tmp_path)
    victim = tmp_path / "mine"
    victim.write_text("text")
    path = queue.path.with_suffix(linked)
    path.unlink(missing_ok=True)
    path.symlink_to(victim)
    assert RecordQueue.list_in(tmp_path / "spool") == []
    assert victim.read_text() == "text"


def test_a_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "home")
    with pytest.raises(OutputError, match="is a link, which mixopt never makes"):
        RecordQueue.create(tmp_path / "spool", {})
    assert list((tmp_path / "home").iterdir()) == []


def test_deliveries_that_mixopt_did_not_write_are_ignored(tmp_path):
    queue = filled(tmp_path)
    queue.path.with_suffix(".sent").write_text('{"a": ["7"]}\nnonsense\n')
    (again,) = RecordQueue.list_in(tmp_path / "spool")
    assert (again.n_delivered, again.run_ids) == (2, {})


def test_records_hold_no_credentials(tmp_path):
    queue = RecordQueue.create(tmp_path / "spool", {"uri": "http://me:secret@host"})
    tags = {"mlflow.source.git.repoURL": "https://me:secret@example.org/a.git"}
    queue.append({"do": "run", "run": "a", "tags": tags, "text": "storage: s3://me:secret@b"})
    assert b"secret" not in queue.path.read_bytes()
