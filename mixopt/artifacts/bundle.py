"""Parcels: units as they travel, as one object that holds their files or says where those are.

What comes from elsewhere may be anything: what is no parcel of ours is nothing, and what a parcel names
stays in the folder that it is put into.
"""

import base64
import json
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from mixopt.artifacts.artifact import MANIFEST, ArtifactRecord
from mixopt.errors import StorageError
from mixopt.io.parsing import load_json, show

SMALL = 1 << 20
"""Bytes of all files of a unit that travel inside: they take no longer than one more request (30 ms)."""
LARGEST = 16 << 20
"""Bytes of a parcel; more are not read, as what is read is held in memory."""
AT = "at"
"""Field of a parcel beside the manifest's: the folder that the files are in."""
CONTENT = "content"
"""Field of a parcel in the place of `AT`: the files themselves (base64)."""
FOLDER = re.compile(r"[0-9a-f]{16}")
"""What such folders are called; a parcel that names another is none of ours."""
HASH = re.compile(r"[0-9a-f]{32}")
LONGEST, LONGEST_PART = 800, 255
"""Bytes of a name and of each of its parts: disks take 255 of a part, object stores 1024 in all."""


class DamagedError(Exception):
    """What came from elsewhere is not what was sent there."""


@dataclass(frozen=True)
class Parcel:
    """A unit as it travels.

    Attributes:
        manifest: As it lies in the unit's folder.
        at: The folder that the files are in, where they travel by themselves.
        inside: The files themselves (base64), where they do not.
    """

    manifest: Mapping[str, Any]
    at: str | None = None
    inside: Mapping[str, str] | None = None

    @classmethod
    def pack(cls, unit: ArtifactRecord) -> "Parcel":
        """The parcel of a unit; the files of a large one are still to be sent to `at`.

        Raises:
            StorageError: It holds files that cannot travel.
        """
        manifest = {"key": unit.key, "files": list_files(unit), "seconds": unit.seconds}
        strange = next((name for name in unit.files if not is_name(name)), None)
        if not is_small(unit):
            parcel = cls(manifest, at=secrets.token_hex(8))
        else:
            files = {name: (unit.folder / name).read_bytes() for name in unit.files}
            inside = {name: base64.b64encode(found).decode() for name, found in files.items()}
            parcel = cls(manifest, inside=inside)
        if strange is not None or len(parcel.told) > LARGEST:
            told = (
                f"{len(unit.files):,} files"
                if strange is None
                else f"a file called {show(strange)}"
            )
            raise StorageError(
                f"{unit.folder} has {told}, which no storage takes; rename or join what it is made of."
            )
        return parcel

    @classmethod
    def read(cls, told: bytes) -> "Parcel | None":
        """What `told` says; None where it is none of ours, whatever else it is."""
        try:
            plain = load_json(told.decode("utf-8")) if len(told) <= LARGEST else None
        except ValueError:
            return None
        if not isinstance(plain, dict):
            return None
        at, inside = plain.pop(AT, None), plain.pop(CONTENT, None)
        if not _is_manifest(plain):
            return None
        if isinstance(inside, dict) and at is None:
            return cls(plain, inside=inside)
        ours = isinstance(at, str) and FOLDER.fullmatch(at) and inside is None
        return cls(plain, at) if ours else None

    @cached_property
    def told(self) -> bytes:
        """What is written elsewhere."""
        beside = {AT: self.at} if self.inside is None else {CONTENT: self.inside}
        return json.dumps({**self.manifest, **beside}).encode()

    @property
    def files(self) -> Mapping[str, list[Any]]:
        """Size and hash, by path inside the unit."""
        files: Mapping[str, list[Any]] = self.manifest["files"]
        return files

    def content(self, name: str) -> bytes:
        """A file that is inside.

        Raises:
            DamagedError: It is not, or cannot be read.
        """
        assert self.inside is not None
        try:
            return base64.b64decode(self.inside[name], validate=True)
        except (KeyError, TypeError, ValueError):
            raise DamagedError(f"{show(name)} is missing") from None


def is_small(unit: ArtifactRecord) -> bool:
    """Whether a unit's files travel inside its parcel."""
    return unit.n_bytes <= SMALL


def list_files(unit: ArtifactRecord) -> dict[str, list[Any]]:
    """Size and hash of a unit's files, as a parcel has them."""
    return {name: list(told) for name, told in unit.files.items()}


def is_name(name: str) -> bool:
    """Whether a path stays in the folder that it is put into, and can be put there and elsewhere."""
    path = PurePosixPath(name)
    try:
        whole, *sizes = [len(part.encode()) for part in (name, *path.parts)]
    except UnicodeEncodeError:  # half a character
        return False
    return (
        str(path) == name
        and name not in (".", MANIFEST)
        and not path.is_absolute()
        and ".." not in path.parts
        and "\0" not in name
        and whole <= LONGEST
        and max(sizes) <= LONGEST_PART
    )


def _is_manifest(plain: Mapping[str, Any]) -> bool:
    """Whether a foreign value is a unit's manifest, and all that it names can be put into a folder."""
    files, seconds = plain.get("files"), plain.get("seconds")
    if not (isinstance(plain.get("key"), dict) and isinstance(files, dict)):
        return False
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return False
    folders = {str(folder) for name in files for folder in PurePosixPath(name).parents}
    return folders.isdisjoint(files) and all(
        is_name(name)
        and isinstance(told, list)
        and len(told) == 2
        and isinstance(told[0], int)
        and isinstance(told[1], str)
        and HASH.fullmatch(told[1])
        for name, told in files.items()
    )
