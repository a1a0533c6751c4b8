"""Bundles: artifacts as one object of a storage, which holds their files or says where these are.

The storage is not trusted: content that is not a valid bundle is ignored, and the paths that a bundle
names stay inside the folder that it is unpacked into.
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

from mixopt.artifacts.artifact import MANIFEST, REFERENCE, ArtifactRecord
from mixopt.errors import StorageError
from mixopt.io.parsing import load_json, show

MAX_INLINE_BYTES = 1 << 20
"""Artifacts up to this size are inside their bundle: sending them takes no longer than a request."""
MAX_BYTES = 16 << 20
"""Larger bundles are not read, as they are held in memory."""
FOLDER_FIELD = "at"
"""Field with the name of the folder that holds the files, beside the bundle."""
CONTENT_FIELD = "content"
"""Field with the files (base64), instead of `FOLDER_FIELD`."""
FOLDER_NAME = re.compile(r"[0-9a-f]{16}")
HASH = re.compile(r"[0-9a-f]{32}")
MAX_PATH_BYTES, MAX_PART_BYTES = 800, 255
"""Disks take 255 bytes of each part of a path, object stores 1024 of the whole."""


class DamagedError(Exception):
    """An artifact from a storage is not what was sent there."""


@dataclass(frozen=True)
class Bundle:
    """An artifact as it is stored elsewhere.

    Attributes:
        manifest: The artifact's manifest.
        folder: Name of the folder that holds the files; None if they are in `contents`.
        contents: The files (base64) by path; None if they are in `folder`.
    """

    manifest: Mapping[str, Any]
    folder: str | None = None
    contents: Mapping[str, str] | None = None

    @classmethod
    def pack(cls, record: ArtifactRecord) -> "Bundle":
        """Return the bundle of an artifact; the caller has to send the files of a large one.

        Raises:
            StorageError: It has too many files, or one with a name that storages do not take.
        """
        manifest = {REFERENCE: record.reference, "key": record.key, "files": list_files(record),
                    "seconds": record.seconds}  # fmt: skip
        bad_name = next((name for name in record.files if not is_safe_path(name)), None)
        if is_small(record):
            files = {name: (record.folder / name).read_bytes() for name in record.files}
            contents = {name: base64.b64encode(found).decode() for name, found in files.items()}
            bundle = cls(manifest, contents=contents)
        else:
            bundle = cls(manifest, folder=secrets.token_hex(8))
        if bad_name is not None or len(bundle.serialized) > MAX_BYTES:
            reason = f"{len(record.files):,} files"
            if bad_name is not None:
                reason = f"a file called {show(bad_name)}"
            raise StorageError(
                f"{record.folder} has {reason}, which no storage takes; rename or join what it is "
                "made of."
            )
        return bundle

    @classmethod
    def read(cls, serialized: bytes) -> "Bundle | None":
        """Return the bundle that `serialized` holds; None if it is not a valid one."""
        try:
            plain = load_json(serialized.decode("utf-8")) if len(serialized) <= MAX_BYTES else None
        except ValueError:
            return None
        if not isinstance(plain, dict):
            return None
        folder, contents = plain.pop(FOLDER_FIELD, None), plain.pop(CONTENT_FIELD, None)
        if not _is_manifest(plain):
            return None
        if isinstance(contents, dict) and folder is None:
            return cls(plain, contents=contents)
        is_valid = isinstance(folder, str) and FOLDER_NAME.fullmatch(folder) and contents is None
        return cls(plain, folder) if is_valid else None

    @cached_property
    def serialized(self) -> bytes:
        """The bundle as it is stored."""
        if self.contents is None:
            return json.dumps({**self.manifest, FOLDER_FIELD: self.folder}).encode()
        return json.dumps({**self.manifest, CONTENT_FIELD: self.contents}).encode()

    @property
    def files(self) -> Mapping[str, list[Any]]:
        """Size in bytes and hash, by path inside the artifact."""
        files: Mapping[str, list[Any]] = self.manifest["files"]
        return files

    def content(self, name: str) -> bytes:
        """Return the content of a file that is inside.

        Raises:
            DamagedError: It is missing or cannot be decoded.
        """
        assert self.contents is not None
        try:
            return base64.b64decode(self.contents[name], validate=True)
        except (KeyError, TypeError, ValueError):
            raise DamagedError(f"{show(name)} is missing") from None


def is_small(record: ArtifactRecord) -> bool:
    """Return whether an artifact's files are inside its bundle."""
    return record.n_bytes <= MAX_INLINE_BYTES


def list_files(record: ArtifactRecord) -> dict[str, list[Any]]:
    """Return size and hash of an artifact's files, as `Bundle.files` has them."""
    return {name: list(entry) for name, entry in record.files.items()}


def is_safe_path(name: str) -> bool:
    """Return whether a path stays inside its folder and can be written on disks and object stores."""
    path = PurePosixPath(name)
    try:
        n_bytes, *part_bytes = [len(part.encode()) for part in (name, *path.parts)]
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return (
        str(path) == name
        and name not in (".", MANIFEST)
        and not path.is_absolute()
        and ".." not in path.parts
        and "\0" not in name
        and n_bytes <= MAX_PATH_BYTES
        and max(part_bytes) <= MAX_PART_BYTES
    )


def _is_manifest(plain: Mapping[str, Any]) -> bool:
    files, seconds = plain.get("files"), plain.get("seconds")
    if not (isinstance(plain.get("key"), dict) and isinstance(files, dict)):
        return False
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return False
    folders = {str(folder) for name in files for folder in PurePosixPath(name).parents}
    return folders.isdisjoint(files) and all(
        is_safe_path(name)
        and isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], int)
        and isinstance(entry[1], str)
        and HASH.fullmatch(entry[1])
        for name, entry in files.items()
    )
