"""A queue of log records on disk, kept until MLflow has stored them.

The records of a command are lines of JSON in one file, and the files that they name are kept in a folder
beside it. A second file has a line for each record that was
delivered. A crash may cut off the last line of either file: such a record was never complete, and such a
delivery is repeated. So each record must be safe to deliver twice.
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mixopt.errors import OutputError
from mixopt.io.files import storage_errors
from mixopt.io.parsing import load_json
from mixopt.io.redaction import hide_in

RECORDS = ".jsonl"
DELIVERED = ".sent"
FILES = ".files"
DAMAGED: Mapping[str, Any] = {"do": "lost", "run": ""}
"""Replaces a line that cannot be parsed, so that later lines keep their number."""


class RecordQueue:
    """The records of one command, in order.

    Args:
        path: Its file. The first line is a header, each further line a record with the fields `do` (the
            operation) and `run` (our identifier of the run).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes_read = self._n_kept = 0
        self._lines: list[dict[str, Any]] = []
        self._reading, self._appending = threading.Lock(), threading.Lock()
        self._lock = FileLock(path.with_suffix(".lock"), thread_local=False)
        self._deliveries: list[dict[str, str]] | None = None
        """Cached while this process holds the lock, as then only it writes them."""
        self._may_be_cut = True
        """Whether the last line of deliveries may be incomplete."""

    @classmethod
    def create(cls, folder: Path, header: Mapping[str, Any]) -> "RecordQueue":
        """Create an empty queue in `folder`.

        Raises:
            StorageError: The disk is full or cannot be written.
            OutputError: `folder` is a link.
        """
        if folder.is_symlink():
            raise OutputError(f"{folder} is a link, which mixopt never makes; remove it.")
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        queue = cls(folder / f"{time.time_ns()}-{os.getpid()}{RECORDS}")
        queue.append(header)
        return queue

    @classmethod
    def list_in(cls, folder: Path) -> list["RecordQueue"]:
        """Return the queues in `folder`, oldest first; delivered ones have been removed."""
        queues = [cls(path) for path in sorted(folder.glob(f"*{RECORDS}"))]
        # a link, which mixopt never makes, would have another file written
        return [queue for queue in queues if not any(p.is_symlink() for p in queue._paths)]

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a record, without credentials.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        line = json.dumps(hide_in(dict(record)), default=str).encode() + b"\n"
        with (
            self._appending,
            storage_errors(self.path),
            self.path.open("ab", buffering=0) as stream,
        ):
            end = stream.seek(0, os.SEEK_END)
            try:
                n_written = stream.write(line)
                if n_written < len(line):
                    stream.write(line[n_written:])  # raises the reason of the short write
            except OSError:
                stream.truncate(end)  # half a line would damage the next one
                raise

    def keep(self, file: Path) -> Path:
        """Return a copy of a file that stays as it is now, whatever a later command writes in its place.

        Args:
            file: Its name is kept. mixopt replaces files and does not change them, so a hard link does.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        if file.is_symlink():  # none of mixopt's; the upload refuses what leads out of the results
            return file
        with self._appending:
            self._n_kept += 1
            place = self._files / str(self._n_kept) / file.name
        with storage_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, place)
            except OSError:  # another disk, or one without links
                shutil.copyfile(file, place)
        return place

    @property
    def header(self) -> dict[str, Any]:
        """The first line; empty if a crash cut it off."""
        self._read()
        return self._lines[0] if self._lines else {}

    @property
    def n_pending(self) -> int:
        """Number of records that were not delivered."""
        self._read()
        return max(0, len(self._lines) - 1 - self.n_delivered)

    @property
    def n_delivered(self) -> int:
        """Number of records that were delivered."""
        return len(self._read_deliveries())

    @property
    def open_runs(self) -> set[str]:
        """Runs that were begun and not ended by the records: their command was killed."""
        self._read()
        records = [line for line in self._lines[1:] if isinstance(line.get("run"), str)]
        begun = {line["run"] for line in records if line.get("do") == "run"}
        return begun - {line["run"] for line in records if line.get("do") == "end"}

    @property
    def run_ids(self) -> dict[str, str]:
        """MLflow's run ids by our identifiers, of the runs that were delivered."""
        ids: dict[str, str] = {}
        for delivery in self._read_deliveries():
            ids |= delivery
        return ids

    def peek(self) -> dict[str, Any] | None:
        """Return the first record that was not delivered."""
        self._read()
        index = self.n_delivered + 1
        return self._lines[index] if index < len(self._lines) else None

    def mark_delivered(self, run_ids: Mapping[str, str] | None = None) -> None:
        """Mark the first pending record as delivered; the queue must be locked.

        Args:
            run_ids: MLflow's id of the run that the record created, by our identifier.
        """
        assert self._deliveries is not None
        delivery = dict(run_ids or {})
        with storage_errors(self.path), self._delivered_path.open("ab") as stream:
            if self._may_be_cut:
                stream.truncate(self._delivered_path.read_bytes().rfind(b"\n") + 1)
                self._may_be_cut = False
            stream.write(json.dumps(delivery).encode() + b"\n")
        self._deliveries = [*self._deliveries, delivery]

    def lock(self) -> bool:
        """Return whether this process may deliver; False while another process does."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        self._deliveries, self._may_be_cut = self._read_deliveries(), True
        return True

    def unlock(self) -> None:
        """Let other processes deliver."""
        self._deliveries = None
        self._lock.release()

    def remove(self) -> None:
        """Delete a queue whose records were all delivered."""
        with self._reading:
            shutil.rmtree(self._files, ignore_errors=True)
            self.path.unlink(missing_ok=True)
            self._delivered_path.unlink(missing_ok=True)
            self._lines.clear()
        self.unlock()
        self.path.with_suffix(".lock").unlink(missing_ok=True)

    @property
    def _paths(self) -> tuple[Path, ...]:
        """The folder, and all files that are written."""
        lock = self.path.with_suffix(".lock")
        return self.path.parent, self.path, self._delivered_path, lock, self._files

    @property
    def _files(self) -> Path:
        return self.path.with_suffix(FILES)

    @property
    def _delivered_path(self) -> Path:
        return self.path.with_suffix(DELIVERED)

    def _read_deliveries(self) -> list[dict[str, str]]:
        cached = self._deliveries  # read once: another thread may unlock
        if cached is not None:
            return cached
        content = self._delivered_path.read_bytes() if self._delivered_path.exists() else b""
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        return [_parse_delivery(line) for line in lines]

    def _read(self) -> None:
        with self._reading:
            try:
                with self.path.open("rb") as stream:
                    stream.seek(self._bytes_read)
                    content = stream.read()
            except FileNotFoundError:
                return
            complete = content[: content.rfind(b"\n") + 1]
            self._bytes_read += len(complete)
            self._lines += map(_parse, complete.splitlines())


def _parse(line: bytes) -> dict[str, Any]:
    plain = _load(line)
    return dict(DAMAGED) if plain is None else plain


def _parse_delivery(line: bytes) -> dict[str, str]:
    ids = _load(line) or {}
    return ids if all(isinstance(value, str) for value in ids.values()) else {}


def _load(line: bytes) -> dict[str, Any] | None:
    try:
        plain = load_json(line)
    except ValueError:
        return None
    return plain if isinstance(plain, dict) else None
