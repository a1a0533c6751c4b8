"""The journal: units of work, done once, kept whole, and found by what determines them."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixopt.artifacts.artifact import Unit, build_artifact, find_artifact, workplace_of
from mixopt.artifacts.code_versions import CODE, code_of
from mixopt.errors import StorageError
from mixopt.io.files import write_text

MANY = {"scores", "estimates", "slopes", "fits", "proposals"}
"""Kinds of which many units have one name: another key is another unit, not a change."""
FAILURES = "failures"
"""Folder of what failed, by kind."""


@dataclass(frozen=True)
class Failure:
    """A unit that could not be made.

    Attributes:
        kind: Of the unit.
        name: Of the unit.
        folder: Of the unit, with its key.
        cause: What went wrong.
        times: How often it was tried.
    """

    kind: str
    name: str
    folder: str
    cause: str
    times: int


class ArtifactStore:
    """Units of work under one folder, as `kind/name-key/`.

    A unit's key says everything that determines its result, the version of the code included.
    Its folder appears by a rename when it is whole; what a crash leaves behind is a scratch
    folder that nothing reads. What failed is kept under `failures/` until it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(
        self, kind: str, name: str, key: Mapping[str, Any], build: Callable[[Path], None]
    ) -> Path:
        """The folder of the unit: found, or made now by `build`, which gets a scratch folder."""
        place = self.place(kind, name, key)
        failure = self.folder / FAILURES / kind / f"{place.name}.json"
        try:
            made = build_artifact(place, whole_key(kind, key), build, alone=kind not in MANY)
        except Exception as error:
            self._record(failure, kind, name, error)
            raise
        self._forget(failure, name)
        return made

    def find(self, kind: str, name: str, key: Mapping[str, Any]) -> Path | None:
        """The folder of the unit, if it is finished and undamaged."""
        return find_artifact(self.place(kind, name, key))

    def find_all(self, kind: str, name: str) -> Iterator[Path]:
        """The folders of finished, undamaged units of one name, whatever their keys."""
        for folder in sorted((self.folder / kind).glob(f"{name}-*")):
            if folder.name.rpartition("-")[0] == name and find_artifact(folder) is not None:
                yield folder

    def list_kind(self, kind: str) -> Iterator[Path]:
        """Where the units of a kind lie, unread."""
        yield from (self.folder / kind).glob("[!.]*")

    def open(self, reference: str) -> Path:
        """The folder of the unit that lies at `KIND/NAME-KEY`.

        Raises:
            StorageError: It is not there, or damaged.
        """
        found = find_artifact(self.folder / reference)
        if found is None:
            raise StorageError(f"{self.folder / reference} is not there or damaged; run again.")
        return found

    def workplace(self, kind: str, name: str, key: Mapping[str, Any]) -> Path:
        """A folder where a unit keeps what it needs to go on; gone once it is made."""
        return workplace_of(self.place(kind, name, key))

    def keep(self, kind: str, name: str, key: Mapping[str, Any]) -> None:
        """Nothing: what lies under this folder is kept already."""

    def place(self, kind: str, name: str, key: Mapping[str, Any]) -> Path:
        """Where the unit lies, or will."""
        return self.folder / kind / f"{name}-{hash_key(whole_key(kind, key))}"

    def units(self, kind: str) -> Iterator[Unit]:
        """Every finished unit of a kind, whatever it was made from."""
        for folder in sorted((self.folder / kind).glob("*")):
            unit = Unit.read(folder)
            if unit is not None:
                yield unit

    def failures(self) -> list[Failure]:
        """What failed and was not made since."""
        found = []
        for file in sorted((self.folder / FAILURES).glob("*/*.json")):
            try:
                found.append(Failure(**json.loads(file.read_text(encoding="utf-8"))))
            except (ValueError, TypeError):
                continue  # written by nobody we know
        return found

    def note_failure(self, kind: str, name: str, key: Mapping[str, Any], error: Exception) -> None:
        """Records what failed outside of `make`: a worker that was lost, say."""
        self._record(self._noted(kind, key), kind, name, error)

    def forget_failure(self, kind: str, key: Mapping[str, Any]) -> None:
        """Drops what was noted: it is done now."""
        self._noted(kind, key).unlink(missing_ok=True)

    def _noted(self, kind: str, key: Mapping[str, Any]) -> Path:
        return self.folder / FAILURES / kind / f"{hash_key(key)}.json"

    def _forget(self, failure: Path, name: str) -> None:
        """Drops what failed before under this key, and under others where a name is one thing."""
        failure.unlink(missing_ok=True)
        if failure.parent.name not in MANY and failure.parent.is_dir():
            for file in failure.parent.glob(f"{name}-*.json"):
                if file.stem.rpartition("-")[0] == name:
                    file.unlink(missing_ok=True)

    def _record(self, file: Path, kind: str, name: str, error: Exception) -> None:
        before = [f.times for f in self.failures() if (f.kind, f.folder) == (kind, file.stem)]
        cause = " ".join(str(error).split()) or type(error).__name__
        told = {"kind": kind, "name": name, "folder": file.stem, "cause": cause,
                "times": max(before, default=0) + 1}  # fmt: skip
        try:
            write_text(file, json.dumps(told, indent=2) + "\n")
        except Exception as unwritten:  # a full disk: what failed matters more than its record
            error.add_note(f"The failure could not be recorded ({unwritten}).")


def whole_key(kind: str, key: Mapping[str, Any]) -> dict[str, Any]:
    """The key of a unit with the version of the code that makes its kind."""
    code = code_of(kind)
    return {**key, CODE: code} if code else dict(key)


def hash_key(key: Mapping[str, Any]) -> str:
    """A short hash of a key, the same on every machine and in every process."""
    text = json.dumps(dict(key), sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
