"""The journal: units of work, done once, kept whole, and found by what determines them."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mixopt import __version__
from mixopt.files import UNIT_MARK, publish_folder, write_text

log = logging.getLogger(__name__)


class Journal:
    """Units of work under one folder, as `kind/name-key/`.

    A unit's key is a hash of everything that determines its result, mixopt's version included.
    Its folder appears by a rename when it is whole; what a crash leaves behind is a scratch
    folder that nothing reads.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(
        self, kind: str, name: str, key: Mapping[str, Any], build: Callable[[Path], None]
    ) -> Path:
        """The folder of the unit: found, or made now by `build`, which gets a scratch folder."""
        found = self.find(kind, name, key)
        if found is not None:
            log.debug("%s %s: found", kind, name)
            return found
        folder = self._place(kind, name, key)
        with publish_folder(folder) as scratch:
            build(scratch)
            write_text(scratch / UNIT_MARK, json.dumps(dict(key), indent=2, default=str) + "\n")
        return folder

    def find(self, kind: str, name: str, key: Mapping[str, Any]) -> Path | None:
        """The folder of the unit, if it is finished."""
        folder = self._place(kind, name, key)
        return folder if (folder / UNIT_MARK).is_file() else None

    def _place(self, kind: str, name: str, key: Mapping[str, Any]) -> Path:
        return self.folder / kind / f"{name}-{hash_key(key)}"


def hash_key(key: Mapping[str, Any]) -> str:
    """A short hash of a key, the same on every machine and in every process."""
    text = json.dumps({**key, "mixopt": __version__}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
