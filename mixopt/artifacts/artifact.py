"""Artifacts: results on disk, named before they are built; they appear whole, and damage is detected.

An artifact is a folder with a manifest: the key that determines its content, and the size and hash of
every file. The files are compared with the manifest before first use in each process, so a flipped bit
or a truncated file causes a rebuild and never a wrong result.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mixopt.artifacts.code_versions import CODE, code_of
from mixopt.io.content_hash import hash_content
from mixopt.io.files import storage_errors, write_text
from mixopt.io.parsing import show
from mixopt.io.redaction import hide_in

log = logging.getLogger(__name__)

MANIFEST = "artifact.json"
"""File name of the manifest."""
QUEUE_FOLDER = "mlflow-spool"
"""Folder of records for MLflow in a folder of results; no archive holds it, as it is for one user."""
JOBS_FOLDER = "executor"
"""Folder of jobs in a folder of results; no archive holds it, as jobs may have credentials."""
REFERENCE = "artifact"
"""Field of a manifest with the name of its artifact."""
MAX_SIBLINGS = 64
"""Artifacts of one name that are compared to explain a rebuild."""
MAX_CHANGES = 3
"""Changes that an explanation lists."""
LONGEST = 60
"""Characters of a value that an explanation quotes."""
HASH = re.compile(r"[0-9a-f]{16,}")

_verified: set[tuple[str, int]] = set()
"""Manifests (path and modification time) whose files this process has verified."""


def folder_stem(name: str) -> str:
    """Return the name of an artifact as the beginning of a folder's name.

    Args:
        name: May be the name of a domain with slashes (`dclm/web`).
    """
    return name.replace("/", "_")


@dataclass(frozen=True, eq=False)
class Artifact:
    """The name of a result: where it lies in a store, whether or not it exists.

    Attributes:
        kind: Group of artifacts, a folder of the store (`experts`, `scores`).
        name: Readable name within the kind.
        key: JSON-like values that determine the content.
    """

    kind: str
    name: str
    key: Mapping[str, Any]

    @cached_property
    def full_key(self) -> dict[str, Any]:
        """The key with the versions of the code that builds this kind, without credentials."""
        code = code_of(self.kind)
        key: dict[str, Any] = hide_in(dict(self.key))
        return {**key, CODE: code} if code else key

    @cached_property
    def folder_name(self) -> str:
        """`NAME-HASH`, the same on every machine and in every process."""
        return f"{folder_stem(self.name)}-{hash_key(self.full_key)}"

    @property
    def reference(self) -> str:
        """`KIND/NAME-HASH`, the path inside a store."""
        return f"{self.kind}/{self.folder_name}"


@dataclass(frozen=True)
class ArtifactRecord:
    """The manifest of a finished artifact.

    Attributes:
        folder: Where it lies.
        key: The full key that it was built from.
        files: Size in bytes and hash, by path inside the folder.
        seconds: Build time; of a training, over all attempts and devices.
        reference: `KIND/NAME-HASH` of the artifact; None in manifests of earlier versions.
    """

    folder: Path
    key: Mapping[str, Any]
    files: Mapping[str, tuple[int, str]]
    seconds: float
    reference: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "ArtifactRecord | None":
        """Return the record in `folder`; None without a readable manifest."""
        try:
            plain = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            files = {name: (int(size), str(sha)) for name, (size, sha) in plain["files"].items()}
            reference = plain.get(REFERENCE)
            if not isinstance(reference, str | None):
                return None
            return cls(folder, dict(plain["key"]), files, float(plain["seconds"]), reference)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(size for size, _ in self.files.values())

    def find_mismatch(self, folder: Path) -> str | None:
        """Return how the artifact differs from the one whose name the folder has, if it does.

        Args:
            folder: Where it lies, or is to lie: `KIND/NAME-HASH` in a store.
        """
        if folder.name.startswith("."):  # work folders have no key
            return None
        if hash_key(self.key) != folder.name.rpartition("-")[2]:
            return "its key is that of another artifact"
        if self.reference not in (None, f"{folder.parent.name}/{folder.name}"):
            return f"it is {show(self.reference)}"
        return None

    def find_damage(self) -> str | None:
        """Return a description of the first file that differs from the manifest, if any."""
        for name, (size, digest) in self.files.items():
            file = self.folder / name
            try:
                if file.stat().st_size != size:
                    return f"{name} has {file.stat().st_size:,} bytes and had {size:,}"
                if hash_content(file) != digest:
                    return f"the content of {name} has changed"
            except FileNotFoundError:
                return f"{name} is missing"
            except OSError as error:
                return f"{name} cannot be read: {error.strerror}"
        return None


def find_verified(folder: Path) -> Path | None:
    """Return `folder` if it holds a whole, undamaged artifact; log damage."""
    record = ArtifactRecord.read(folder)
    if record is None:
        return None
    mark = (str(folder), (folder / MANIFEST).stat().st_mtime_ns)
    if mark not in _verified:
        damage = record.find_mismatch(folder) or record.find_damage()
        if damage is not None:
            log.warning("%s is damaged (%s) and is built again.", folder, damage)
            return None
        _verified.add(mark)
    return folder


def seal(
    folder: Path, key: Mapping[str, Any], seconds: float, reference: str | None = None
) -> None:
    """Write the manifest of the files in `folder`; later damage is detected.

    Args:
        folder: The artifact, complete.
        key: Its full key.
        seconds: Time that its build took.
        reference: `KIND/NAME-HASH`; None for a folder that is no artifact of a store.
    """
    files = {
        str(file.relative_to(folder)): (file.stat().st_size, hash_content(file))
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    manifest = {REFERENCE: reference, "key": dict(key), "files": files, "seconds": seconds}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2, default=str) + "\n")


def mark_verified(folder: Path) -> None:
    """Record that this process has just written or verified the artifact."""
    _verified.add((str(folder), (folder / MANIFEST).stat().st_mtime_ns))


def work_folder_of(folder: Path) -> Path:
    """Return where the unfinished artifact of `folder` keeps checkpoints."""
    return folder.parent / f".{folder.name}.begun"


def lock_file_of(folder: Path) -> Path:
    """Return the lock file that is held while `folder` is built."""
    return folder.parent / f".{folder.name}.lock"


@contextmanager
def build_lock(folder: Path) -> Iterator[None]:
    """Hold the build lock of `folder`; it is released when the process dies."""
    path = lock_file_of(folder)
    with storage_errors(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.warning("Another run is building %s; waiting for it.", folder.name)
            lock.acquire()
    try:
        yield
        # a process that waits for this very file finds the artifact; after a failure the file stays
        path.unlink(missing_ok=True)
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Return whether a process is building `folder` now, without creating a file."""
    path = lock_file_of(folder)
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # not ours to lock, or a file system without locks
        return False


def explain_rebuild(folder: Path, key: Mapping[str, Any]) -> str:
    """Describe how `key` differs from the nearest other artifact of the same name; empty without one.

    Args:
        folder: Where the artifact would lie.
        key: Its full key.
    """
    name = folder.name.rpartition("-")[0]
    found = folder.parent.glob(f"{name}-*")
    siblings = [path for path in found if path.name.rpartition("-")[0] == name]
    if len(siblings) > MAX_SIBLINGS:
        return ""
    records = [ArtifactRecord.read(path) for path in siblings if path != folder]
    keys = [record.key for record in records if record is not None]
    if not keys:
        return ""
    nearest = min(keys, key=lambda other: len(_list_changes(other, key)))
    return describe_changes(nearest, key)


def describe_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Describe the differences between two keys; empty where there are none.

    Args:
        old: A key as it was written.
        new: A key with values of any type, as they would be written.

    Returns:
        At most `MAX_CHANGES` of them, each with its dotted path, old and new value; long values are
        not quoted.
    """
    changes = _list_changes(old, new)[:MAX_CHANGES]
    return "; ".join(
        _describe_change(place, _short(was), _short(now)) for place, was, now in changes
    )


def _describe_change(place: str, was: str, now: str) -> str:
    # the beginnings of long values tell nothing
    if max(len(was), len(now)) > LONGEST:
        return f"{place} changed"
    return f"{place} was {was} and is {now}"


def _short(value: Any) -> str:
    """Return a value as text; of a hash, its beginning tells it apart."""
    text = str(value)
    return text[:8] if HASH.fullmatch(text) else text


def _list_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    before = flatten(old)
    after = flatten(json.loads(json.dumps(dict(new), default=str)))  # as keys are written
    return [
        (place, before.get(place, "absent"), after.get(place, "absent"))
        for place in sorted(before.keys() | after.keys())
        if before.get(place) != after.get(place)
    ]


def flatten(plain: Any, place: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by dotted path."""
    if not isinstance(plain, Mapping):
        return {place: plain}
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        flat |= flatten(value, f"{place}.{name}" if place else str(name))
    return flat


def hash_key(key: Mapping[str, Any]) -> str:
    """Return a short hash of a key.

    Args:
        key: JSON-like values, as given or as read from a file; their order does not matter, other types
            count as their `str`.

    Returns:
        16 hexadecimal digits, the same on every machine and in every process.
    """
    # names that are numbers become text before they are sorted
    written = json.loads(json.dumps(dict(key), default=str))
    text = json.dumps(written, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
