"""The mirror: a journal whose units also lie at a storage URL, so that machines share no disk.

At the URL a unit is a manifest, `KIND/NAME-KEY/unit.json`, and the files that it names, in a folder of
their own beside it. The manifest comes last and is one object, so a unit is there whole or not at all,
also where a store has no renames; of two makers' manifests the last counts, each with its own files.
"""

import json
import logging
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from mixopt.errors import StorageError, UnreachableError, UserError
from mixopt.files import FULL, publish_folder, write_text
from mixopt.runtime.journal import Journal
from mixopt.units import MANIFEST, Unit, find_unit, hold, note_sound, seal, workplace_of

log = logging.getLogger(__name__)

AT = "at"
"""Field of the manifest at the URL: the folder that its files are in."""
FOLDER = re.compile(r"[0-9a-f]{16}")
"""What such folders are called; a manifest that names another is none of ours."""
BEGUN = "begun"
"""Kind of what lies at the URL for units that are not finished."""


class MirroredJournal(Journal):
    """A journal in a folder and at a storage URL; what one lacks it takes from the other.

    Args:
        folder: On this machine.
        url: Anything that fsspec opens: `s3://bucket/study`, `/nfs/study`.

    Raises:
        UserError: The URL cannot be opened.
    """

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self.url = url
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            told = " ".join(str(error).split())
            raise UserError(f"Storage {url!r} cannot be opened ({told}); mend it.") from None
        self._there: set[str] = set()

    def make(
        self, kind: str, name: str, key: Mapping[str, Any], build: Callable[[Path], None]
    ) -> Path:
        """The folder of the unit: found here or at the URL, or made now and sent there."""
        self.find(kind, name, key)
        made = super().make(kind, name, key, build)
        self._agree(f"{kind}/{made.name}", made)
        self._drop(f"{BEGUN}/{kind}/{made.name}")
        return made

    def find(self, kind: str, name: str, key: Mapping[str, Any]) -> Path | None:
        """The folder of the unit, if it is finished here or at the URL."""
        return self._fetch(f"{kind}/{self.place(kind, name, key).name}")

    def find_all(self, kind: str, name: str) -> Iterator[Path]:
        """The folders of finished units of one name, from here and from the URL."""
        with self._told():
            for path in self._files.glob(f"{self._root}/{kind}/{name}-*/{MANIFEST}"):
                self._fetch(f"{kind}/{PurePosixPath(path).parent.name}")
        yield from super().find_all(kind, name)

    def list_kind(self, kind: str) -> Iterator[Path]:
        """Where the units of a kind lie or would, here and from the URL, unread."""
        with self._told():
            there = self._files.glob(f"{self._root}/{kind}/*/{MANIFEST}")
        yield from (self.folder / kind / PurePosixPath(path).parent.name for path in there)
        yield from super().list_kind(kind)

    def open(self, reference: str) -> Path:
        """The folder of the unit that lies at `KIND/NAME-KEY`, here or at the URL."""
        self._fetch(reference)
        return super().open(reference)

    def workplace(self, kind: str, name: str, key: Mapping[str, Any]) -> Path:
        """A folder where a unit keeps what it needs to go on, as it was kept last on any machine."""
        place = super().workplace(kind, name, key)
        if not place.exists():
            self._receive(f"{BEGUN}/{kind}/{self.place(kind, name, key).name}", place)
        return place

    def keep(self, kind: str, name: str, key: Mapping[str, Any]) -> None:
        """Sends what lies in the workplace to the URL."""
        place = workplace_of(self.place(kind, name, key))
        reference = f"{BEGUN}/{kind}/{self.place(kind, name, key).name}"
        (place / MANIFEST).unlink(missing_ok=True)
        seal(place, {}, 0.0)
        try:
            before = self._manifest(reference)
            self._upload(reference, place)
            if before is not None:
                self._remove(f"{reference}/{before[AT]}")
        except UnreachableError as error:  # the training goes on, and the checkpoint is here
            log.warning("A checkpoint stays on this machine: %s", error)

    def _fetch(self, reference: str) -> Path | None:
        """The unit, copied here if it is only at the URL; one that was damaged on the way is not."""
        place = self.folder / reference
        found = find_unit(place)
        if found is None:
            return self._receive(reference, place)
        if reference not in self._there:  # made before there was a mirror, or where it was away
            self._agree(reference, place)
        return found

    def _receive(self, reference: str, place: Path) -> Path | None:
        """What is at the URL, now at `place`; None where nothing whole is."""
        manifest = self._manifest(reference)
        if manifest is None:
            return None
        try:
            with hold(place):  # other workers of this machine may want it too
                if find_unit(place) is None:
                    with publish_folder(place) as scratch, self._told():
                        self._download(reference, manifest, scratch)
        except _DamagedError as damage:
            log.warning("%s/%s is damaged (%s) and is made again.", self.url, reference, damage)
            self._drop(reference)
            return None
        note_sound(place)
        self._there.add(reference)
        return place

    def _download(self, reference: str, manifest: Mapping[str, Any], scratch: Path) -> None:
        for name in manifest["files"]:
            file = scratch / name
            if not file.resolve().is_relative_to(scratch.resolve()):
                raise _DamagedError(f"{name} would lie outside of it")
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._files.get_file(f"{self._path(reference)}/{manifest[AT]}/{name}", str(file))
            except FileNotFoundError:
                raise _DamagedError(f"{name} is missing") from None
        own = {field: value for field, value in manifest.items() if field != AT}
        write_text(scratch / MANIFEST, json.dumps(own, indent=2) + "\n")
        unit = Unit.read(scratch)
        damage = "its manifest cannot be read" if unit is None else unit.find_damage()
        if damage is not None:
            raise _DamagedError(damage)

    def _agree(self, reference: str, place: Path) -> None:
        """Sends a unit; one that another machine has sent first takes its place here too.

        On a CPU both are the same; of two that GPUs made all go on with one.
        """
        if reference in self._there:
            return
        theirs = self._manifest(reference)
        if theirs is None:
            self._upload(reference, place)
        else:
            ours = Unit.read(place)
            if ours is not None and theirs["files"] != {n: list(f) for n, f in ours.files.items()}:
                log.warning("%s was made elsewhere first; that one counts.", reference)
                with hold(place):
                    shutil.rmtree(place)
                self._receive(reference, place)
        self._there.add(reference)

    def _upload(self, reference: str, place: Path) -> None:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        at = secrets.token_hex(8)
        with self._told():
            for name in manifest["files"]:
                target = f"{self._path(reference)}/{at}/{name}"
                self._files.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
                self._files.put_file(str(place / name), target)
            told = json.dumps({**manifest, AT: at}, indent=2)
            self._write(f"{self._path(reference)}/{MANIFEST}", told)

    def _write(self, path: str, text: str) -> None:
        """Writes one object whole: a file by a rename, where the store is a file system."""
        self._files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        beside = f"{path}.{secrets.token_hex(4)}"
        if "file" in self._protocols:
            self._files.pipe_file(beside, text.encode())
            self._files.mv(beside, path)
        else:  # an object appears when it is written to its end
            self._files.pipe_file(path, text.encode())

    @property
    def _protocols(self) -> tuple[str, ...]:
        told = self._files.protocol
        return (told,) if isinstance(told, str) else tuple(told)

    def _manifest(self, reference: str) -> dict[str, Any] | None:
        try:
            with self._told():
                text = self._files.cat_file(f"{self._path(reference)}/{MANIFEST}")
            manifest = json.loads(text)
        except (FileNotFoundError, ValueError):
            return None
        whole = isinstance(manifest, dict) and isinstance(manifest.get("files"), dict)
        return manifest if whole and FOLDER.fullmatch(str(manifest.get(AT))) else None

    def _drop(self, reference: str) -> None:
        """Forgets what is at the URL under a name, its manifest first."""
        manifest = self._manifest(reference)
        if manifest is not None:
            self._there.discard(reference)
            self._remove(f"{reference}/{MANIFEST}")
            self._remove(f"{reference}/{manifest[AT]}")

    def _remove(self, reference: str) -> None:
        try:
            with self._told():
                self._files.rm(self._path(reference), recursive=True)
        except FileNotFoundError:
            return  # another worker was faster

    def _path(self, reference: str) -> str:
        return f"{self._root}/{reference}"

    def _told(self) -> "_Told":
        return _Told(self.url)


class _DamagedError(Exception):
    """What came from the URL is not what was sent there."""


class _Told:
    """Turns what a store raises into one sentence; that something is not there passes unchanged."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            told = " ".join(str(error).split())
            if isinstance(error, PermissionError) or error.errno in FULL:
                raise StorageError(
                    f"Storage {self._url} cannot be written ({told}); mend it and run again."
                ) from error
            raise UnreachableError(
                f"Storage {self._url} does not answer ({told}); run again when it does."
            ) from error
