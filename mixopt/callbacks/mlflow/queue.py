"""The spool: what is to be logged, kept on disk until whoever keeps logs has it.

A session is a file of records, one JSON line each; a file beside it says how far they were sent.
A record that was cut off by a crash is the last one and counts for nothing; one that was sent and not
ticked off is sent again, so sending a record twice must leave what sending it once leaves.
"""

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mixopt.io.files import storage_errors

RECORDS = ".jsonl"
SENT = ".sent"


class Session:
    """The records of one command, in order.

    Args:
        path: Of its file; what it is about is its first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_to = 0
        self._lines: list[dict[str, Any]] = []
        self._reading = threading.Lock()
        self._lock = FileLock(path.with_suffix(".lock"), thread_local=False)
        self._known: list[dict[str, str]] | None = None
        self._broken = True  # whether the last tick may have been cut off

    @classmethod
    def begin(cls, folder: Path, about: Mapping[str, Any]) -> "Session":
        """A new session in `folder`.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        session = cls(folder / f"{time.time_ns()}-{os.getpid()}{RECORDS}")
        session.add(about)
        return session

    @classmethod
    def left_in(cls, folder: Path) -> list["Session"]:
        """The sessions in `folder` that were not sent to their end, oldest first."""
        return [cls(path) for path in sorted(folder.glob(f"*{RECORDS}"))]

    def add(self, record: Mapping[str, Any]) -> None:
        """Appends a record.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        line = json.dumps(record, default=str).encode() + b"\n"
        with storage_errors(self.path), self.path.open("ab", buffering=0) as stream:
            before = stream.seek(0, os.SEEK_END)
            try:
                written = stream.write(line)
                if written < len(line):
                    stream.write(line[written:])  # which says what is wrong
            except OSError:
                stream.truncate(before)  # a line that was cut would spoil the next
                raise

    @property
    def about(self) -> dict[str, Any]:
        """The first line; empty where not even that was written whole."""
        self._read()
        return self._lines[0] if self._lines else {}

    @property
    def waiting(self) -> int:
        """Records that are still to be sent."""
        self._read()
        return max(0, len(self._lines) - 1 - self.sent)

    @property
    def sent(self) -> int:
        """Records that were sent."""
        return len(self._ticks())

    @property
    def unended(self) -> set[str]:
        """Runs that were begun and have no end among the records: their command was killed."""
        self._read()
        begun = {line["run"] for line in self._lines[1:] if line["do"] == "run"}
        return begun - {line["run"] for line in self._lines[1:] if line["do"] == "end"}

    @property
    def names(self) -> dict[str, str]:
        """What the receiver calls what the records name, as far as it was told."""
        found: dict[str, str] = {}
        for tick in self._ticks():
            found |= tick
        return found

    def next(self) -> dict[str, Any] | None:
        """The first record that was not sent."""
        self._read()
        place = self.sent + 1
        return self._lines[place] if place < len(self._lines) else None

    def tick(self, names: Mapping[str, str] | None = None) -> None:
        """Ticks the next record off.

        Args:
            names: What the receiver calls something that the record names.
        """
        assert self._known is not None, "who ticks off has claimed the session"
        told = [*self._known, dict(names or {})]
        line = json.dumps(told[-1]).encode() + b"\n"
        with storage_errors(self.path), self._sent_path.open("ab") as stream:
            if self._broken:  # a crash cut the last line off; what it ticked was sent again
                stream.truncate(self._whole_bytes())
                self._broken = False
            stream.write(line)
        self._known = told

    def claim(self) -> bool:
        """Whether this process may send; another that is at it has the only right."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        self._known = self._read_ticks()
        return True

    def release(self) -> None:
        """Lets others send."""
        self._known = None
        self._lock.release()

    def remove(self) -> None:
        """Removes a session that was sent to its end."""
        with self._reading:
            self.path.unlink(missing_ok=True)
            self._sent_path.unlink(missing_ok=True)
            self._lines.clear()
        self.release()
        self.path.with_suffix(".lock").unlink(missing_ok=True)

    @property
    def _sent_path(self) -> Path:
        return self.path.with_suffix(SENT)

    def _ticks(self) -> list[dict[str, str]]:
        """What was ticked off; known without reading while this process alone adds to it."""
        known = self._known
        return self._read_ticks() if known is None else known

    def _whole_bytes(self) -> int:
        return self._sent_path.read_bytes().rfind(b"\n") + 1

    def _read_ticks(self) -> list[dict[str, str]]:
        content = self._sent_path.read_bytes() if self._sent_path.exists() else b""
        return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]

    def _read(self) -> None:
        """Takes in what was appended since, as far as it is whole."""
        with self._reading:
            try:
                with self.path.open("rb") as stream:
                    stream.seek(self._read_to)
                    content = stream.read()
            except FileNotFoundError:
                return
            whole = content[: content.rfind(b"\n") + 1]
            self._read_to += len(whole)
            self._lines += _parse(whole)


LOST: Mapping[str, Any] = {"do": "lost", "run": ""}
"""Stands for a line that a crash has spoiled: it has a place, and nothing is sent."""


def _parse(content: bytes) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for line in content.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        lines.append(record if isinstance(record, dict) else dict(LOST))
    return lines
