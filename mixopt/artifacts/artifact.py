"""Units of work: folders that appear whole, know what they were made from, and notice damage.

A unit is a folder with a manifest: the key that determines it, and the size and hash of every file.
Before a unit is used its files are held against the manifest, once in each process, so that a flipped
bit or a cut file is work to be done again and never a wrong result. While a unit is made its lock is
held; whoever else wants it waits, and finds it.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mixopt.io.files import publish_folder, storage_errors, write_text

log = logging.getLogger(__name__)

MANIFEST = "unit.json"
"""The file that a finished unit holds."""
MOST_SIBLINGS = 64
"""Units of one name that are looked at to say what has changed."""
MOST_CHANGES = 3
"""That are told."""

_sound: set[tuple[str, int]] = set()
"""Manifests (path and time of change) that this process has held the files against."""


@dataclass(frozen=True)
class Unit:
    """A finished unit.

    Attributes:
        folder: Where it lies.
        key: What determines it.
        files: Size in bytes and hash, by path inside the folder.
        seconds: That it took.
    """

    folder: Path
    key: Mapping[str, Any]
    files: Mapping[str, tuple[int, str]]
    seconds: float

    @classmethod
    def read(cls, folder: Path) -> "Unit | None":
        """The unit in `folder`; None where there is none, or no manifest that can be read."""
        try:
            plain = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            files = {name: (int(size), str(told)) for name, (size, told) in plain["files"].items()}
            return cls(folder, dict(plain["key"]), files, float(plain["seconds"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def name(self) -> str:
        """What its folder is called, without the key."""
        return self.folder.name.rpartition("-")[0]

    @property
    def n_bytes(self) -> int:
        """Size of all its files."""
        return sum(size for size, _ in self.files.values())

    def find_damage(self) -> str | None:
        """The first file that is not what it was when the unit was made, in words."""
        for name, (size, told) in self.files.items():
            file = self.folder / name
            try:
                if file.stat().st_size != size:
                    return f"{name} has {file.stat().st_size:,} bytes and had {size:,}"
                if hash_content(file) != told:
                    return f"the content of {name} has changed"
            except FileNotFoundError:
                return f"{name} is missing"
            except OSError as error:  # a disk that fails
                return f"{name} cannot be read: {error.strerror}"
        return None


def find_artifact(folder: Path) -> Path | None:
    """`folder`, if a whole and undamaged unit lies in it; damage is said."""
    unit = Unit.read(folder)
    if unit is None:
        return None
    mark = (str(folder), (folder / MANIFEST).stat().st_mtime_ns)
    if mark not in _sound:
        damage = unit.find_damage()
        if damage is not None:
            log.warning("%s is damaged (%s) and is made again.", folder, damage)
            return None
        _sound.add(mark)
    return folder


def build_artifact(
    folder: Path, key: Mapping[str, Any], build: Callable[[Path], None], *, alone: bool = True
) -> Path:
    """`folder`, found or made now by `build`, which gets a scratch folder.

    Args:
        folder: Where it lies, or will: `NAME-KEY`.
        key: What determines it.
        build: Writes its files.
        alone: Whether a name is one thing, so that another key means that it has changed; candidates
            are many of one name.

    Raises:
        StorageError: The disk is full or the place cannot be written.
    """
    found = find_artifact(folder)
    if found is not None:
        return found
    with hold(folder):
        found = find_artifact(folder)  # another process may have made it meanwhile
        if found is not None:
            return found
        change = find_change(folder, key) if alone else ""
        if change:
            log.info("%s is made again: %s.", folder.name.rpartition("-")[0], change)
        for left in folder.parent.glob(f".{folder.name}-*"):  # by a maker that was killed
            shutil.rmtree(left, ignore_errors=True)
        start = time.monotonic()
        with publish_folder(folder) as scratch:
            build(scratch)
            seal(scratch, key, time.monotonic() - start)
        note_sound(folder)
        shutil.rmtree(workplace_of(folder), ignore_errors=True)
    return folder


def seal(folder: Path, key: Mapping[str, Any], seconds: float) -> None:
    """Writes the manifest of what `folder` holds; from then on damage is noticed."""
    files = {
        str(file.relative_to(folder)): (file.stat().st_size, hash_content(file))
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    told = {"key": dict(key), "files": files, "seconds": seconds}
    write_text(folder / MANIFEST, json.dumps(told, indent=2, default=str) + "\n")


def note_sound(folder: Path) -> None:
    """Remembers that this process has seen the unit whole."""
    _sound.add((str(folder), (folder / MANIFEST).stat().st_mtime_ns))


def workplace_of(folder: Path) -> Path:
    """Where the unit that will lie in `folder` keeps, unfinished, what it needs to go on."""
    return folder.parent / f".{folder.name}.begun"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Only one process at a time is inside for one folder; a process that dies lets go."""
    path = lock_of(folder)
    with storage_errors(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.warning("Another run is making %s; waiting for it.", folder.name)
            lock.acquire()
    try:
        yield
        # who waits for this very file finds the unit; who fails leaves it behind
        path.unlink(missing_ok=True)
    finally:
        lock.release()


def lock_of(folder: Path) -> Path:
    """The lock that is held while the unit in `folder` is made."""
    return folder.parent / f".{folder.name}.lock"


def is_being_made(folder: Path) -> bool:
    """Whether a process is making the unit in `folder` now; nothing is written to find out."""
    try:
        lock = os.open(lock_of(folder), os.O_RDONLY)
    except OSError:  # no lock, or none that may be looked at
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(lock)
    return False


def find_change(folder: Path, key: Mapping[str, Any]) -> str:
    """What of the key differs from the nearest other unit of the same name; empty without one."""
    name = folder.name.rpartition("-")[0]
    siblings = [
        path for path in folder.parent.glob(f"{name}-*") if path.name.rpartition("-")[0] == name
    ]
    if len(siblings) > MOST_SIBLINGS:
        return ""
    had = [unit.key for path in siblings if path != folder and (unit := Unit.read(path))]
    if not had:
        return ""
    nearest = min(had, key=lambda one: len(_list_changes(one, key)))
    return tell_changes(nearest, key)


def tell_changes(had: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What of a key differs from another one, in words; empty where nothing does."""
    changes = _list_changes(had, wanted)[:MOST_CHANGES]
    return "; ".join(f"{place} was {was!s:.60} and is {now!s:.60}" for place, was, now in changes)


def _list_changes(had: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Place, old and new value of what differs between two keys."""
    old = flatten(had)
    new = flatten(json.loads(json.dumps(dict(wanted), default=str)))  # as keys are written
    places = sorted(old.keys() | new.keys())
    return [
        (place, old.get(place, "absent"), new.get(place, "absent"))
        for place in places
        if old.get(place) != new.get(place)
    ]


def flatten(plain: Any, place: str = "") -> dict[str, Any]:
    """Leaves of nested mappings by their dotted place."""
    if not isinstance(plain, Mapping):
        return {place: plain}
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        flat |= flatten(value, f"{place}.{name}" if place else str(name))
    return flat


def hash_content(file: Path) -> str:
    """A hash of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]
