"""An artifact store that is also kept at a storage URL, for machines that share no disk.

At the URL an artifact is a manifest, `KIND/NAME-HASH/artifact.json`. It holds the files of a small
artifact; those of a large one lie in a folder beside it and are uploaded first. The manifest is one
object, so an artifact is there whole or not at all, also in object stores without renames. On
concurrent uploads the first one wins.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mixopt.artifacts.artifact import (
    MANIFEST,
    Artifact,
    ArtifactRecord,
    build_lock,
    find_verified,
    mark_verified,
    seal,
    work_folder_of,
)
from mixopt.artifacts.bundle import (
    MAX_BYTES,
    Bundle,
    DamagedError,
    is_safe_path,
    is_small,
    list_files,
)
from mixopt.artifacts.object_storage import Storage
from mixopt.artifacts.store import ArtifactStore, Build, CountSeconds
from mixopt.errors import UnreachableError, hide_credentials
from mixopt.io.files import publish_folder

log = logging.getLogger(__name__)

BEGUN = "begun"
"""Folder at the URL for the work folders of unfinished artifacts."""

SAVED = "saved"
"""Field of a work folder's key: when it was saved, in seconds since the epoch."""


class RemoteArtifactStore(ArtifactStore):
    """Artifacts in a folder and at a storage URL; each side gets what it lacks from the other.

    Args:
        folder: Root of the store on this machine.
        url: Any URL or path that fsspec opens: `s3://bucket/study`, `/nfs/study`.
        is_shared: Whether studies share it.

    Raises:
        UserError: The URL cannot be opened.
    """

    def __init__(self, folder: Path, url: str, *, is_shared: bool = False) -> None:
        super().__init__(folder, is_shared=is_shared)
        self.url = url
        self._storage = Storage(url)
        # references of artifacts that are at the URL as they are here
        self._uploaded: set[str] = set()
        # references whose work folder was asked for: no others have one at the URL
        self._begun: set[str] = set()
        # by kind: names that `find` was asked for, and names at the URL when the kind was listed
        self._requested: dict[str, set[str]] = {}
        self._listed: dict[str, set[str]] = {}

    def get_or_build(
        self, artifact: Artifact, build: Build, count: CountSeconds | None = None
    ) -> Path:
        """Return the artifact's folder: found here or at the URL, or built now and uploaded."""
        reference = artifact.reference
        self._fetch(reference)
        folder = super().get_or_build(artifact, build, count)
        if reference not in self._uploaded:
            self._agree(reference, new=True)
        if reference in self._begun:  # every build has asked for its work folder
            self._drop(f"{BEGUN}/{reference}")
            self._begun.discard(reference)
        return folder

    def find(self, artifact: Artifact) -> Path | None:
        """Return the artifact's folder if it is complete here or at the URL.

        When many artifacts of a kind are asked for, the kind is listed once, and the list answers the
        first question about each. A second question, or a build, asks the URL.
        """
        return self._fetch(artifact.reference, listed=True)

    def find_all(self, kind: str, name: str) -> Iterator[Path]:
        """Yield the folders of complete artifacts of one name, from here and from the URL."""
        for found in self._list(kind):
            if found.rpartition("-")[0] == name:
                self._fetch(f"{kind}/{found}")
        yield from super().find_all(kind, name)

    def list_kind(self, kind: str) -> Iterator[Path]:
        """Yield where the artifacts of a kind lie or would, here and from the URL, unread."""
        yield from (self.folder / kind / found for found in self._list(kind))
        yield from super().list_kind(kind)

    def find_at(self, reference: str) -> Path | None:
        """Return the folder of the artifact at `KIND/NAME-HASH` if it is complete here or at the URL."""
        return self._fetch(reference)

    def work_folder(self, artifact: Artifact) -> Path:
        """Return the folder for checkpoints, with what any machine saved last."""
        place, reference = super().work_folder(artifact), f"{BEGUN}/{artifact.reference}"
        self._begun.add(artifact.reference)
        if place.exists():
            self._update(reference, place)
        else:
            self._receive(reference, place)
        return place

    def save_work(self, artifact: Artifact) -> None:
        """Upload the work folder."""
        place = work_folder_of(self.path(artifact))
        reference = f"{BEGUN}/{artifact.reference}"
        (place / MANIFEST).unlink(missing_ok=True)
        seal(place, {SAVED: time.time()}, 0.0)
        begun = ArtifactRecord.read(place)
        assert begun is not None, "it was sealed just now"
        try:
            before = self._look(reference)
            bundle = self._pack(reference, begun)
            self._storage.write(f"{reference}/{MANIFEST}", bundle.serialized)
            self._clear(reference, before)
        except UnreachableError as error:
            # the training continues, and the checkpoint is on this disk
            log.warning("A checkpoint stays on this machine: %s", error)

    def _update(self, reference: str, place: Path) -> None:
        """Replace a checkpoint by one that another machine saved later."""
        try:
            theirs, ours = self._look(reference), ArtifactRecord.read(place)
            if theirs is None or _saved_at(theirs.manifest["key"]) <= _saved_at(
                {} if ours is None else ours.key
            ):
                return
            log.info("Another machine saved a later checkpoint of %s, which is used.", reference)
            with build_lock(place):
                self._unpack(reference, theirs, place)
        except UnreachableError as error:
            log.warning("The checkpoint on this machine is used: %s", error)

    def _list(self, kind: str) -> set[str]:
        self._listed[kind] = {n for n in self._storage.list_names(kind) if is_safe_path(n)}
        return self._listed[kind]

    def _is_new(self, reference: str) -> bool:
        """Return whether this is the first question about a name that the list of its kind lacks."""
        kind, _, name = reference.partition("/")
        requested = self._requested.setdefault(kind, set())
        if name in requested:
            return False
        requested.add(name)
        if kind not in self._listed:
            if len(requested) == 1:  # one question costs less than a list
                return False
            self._list(kind)
        return name not in self._listed[kind]

    def _look(self, reference: str) -> Bundle | None:
        content = self._storage.read(f"{reference}/{MANIFEST}", MAX_BYTES + 1)
        return None if content is None else Bundle.read(content)

    def _fetch(self, reference: str, *, listed: bool = False) -> Path | None:
        """Return the artifact, downloaded if it is only at the URL; a list may deny that it is."""
        place = self.folder / reference
        found = find_verified(place)
        if found is None:
            return None if listed and self._is_new(reference) else self._receive(reference, place)
        if reference not in self._uploaded:  # built without the URL, or while it was unreachable
            self._agree(reference)
        return found

    def _receive(self, reference: str, place: Path) -> Path | None:
        bundle = self._look(reference)
        if bundle is None:
            return None
        with build_lock(place):  # other workers of this machine may want it too
            if find_verified(place) is not None or self._unpack(reference, bundle, place):
                self._uploaded.add(reference)
                return place
        return None

    def _unpack(self, reference: str, bundle: Bundle, place: Path) -> bool:
        """Replace `place` by a bundle; return False, and remove it from the URL, if it is damaged."""
        try:
            with publish_folder(place) as scratch:
                for name in bundle.files:
                    file = scratch / name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    if bundle.folder is None:
                        file.write_bytes(bundle.content(name))
                    elif not self._storage.fetch(f"{reference}/{bundle.folder}/{name}", file):
                        raise DamagedError(f"{name} is missing")
                manifest = json.dumps(bundle.manifest, indent=2) + "\n"
                (scratch / MANIFEST).write_text(manifest, encoding="utf-8")
                record = ArtifactRecord.read(scratch)
                damage: str | None = "its manifest cannot be read"
                if record is not None:
                    damage = record.find_mismatch(place) or record.find_damage()
                if damage is not None:
                    raise DamagedError(damage)
        except DamagedError as damage:
            url = hide_credentials(self.url)
            log.warning("%s/%s is damaged (%s) and is built again.", url, reference, damage)
            self._drop(reference, bundle)
            return False
        mark_verified(place)
        return True

    def _agree(self, reference: str, *, new: bool = False) -> None:
        """Upload an artifact, or replace it by the one that another machine uploaded first.

        Both are the same on CPUs. On GPUs all machines continue with one of the two. If it is `new`,
        another upload is unlikely.
        """
        ours = ArtifactRecord.read(self.folder / reference)
        if ours is None:  # another process of this machine is replacing it
            return
        # uploading a large artifact for nothing costs more than looking for it
        theirs = None if new and is_small(ours) else self._look(reference)
        if theirs is None:
            theirs = self._send(reference, ours)
        if theirs is not None and theirs.files != list_files(ours):
            log.warning("%s was uploaded by another machine first, which is used.", reference)
            with build_lock(ours.folder):
                whole = self._unpack(reference, theirs, ours.folder)
            if not whole:
                self._send(reference, ours)
        self._uploaded.add(reference)

    def _send(self, reference: str, record: ArtifactRecord) -> Bundle | None:
        """Upload an artifact; return the bundle that another machine uploaded first, if any."""
        bundle = self._pack(reference, record)
        path = f"{reference}/{MANIFEST}"
        if self._storage.create(path, bundle.serialized):
            return None
        theirs = self._look(reference)
        if theirs is None:  # unreadable, or a store without conditional writes
            self._storage.write(path, bundle.serialized)
        else:
            self._clear(reference, bundle)
        return theirs

    def _pack(self, reference: str, record: ArtifactRecord) -> Bundle:
        bundle = Bundle.pack(record)
        if bundle.folder is not None:
            self._storage.send(record.folder, record.files, f"{reference}/{bundle.folder}")
        return bundle

    def _drop(self, reference: str, bundle: Bundle | None = None) -> None:
        # the manifest first, so that nothing incomplete is found
        bundle = bundle or self._look(reference)
        if bundle is not None:
            self._uploaded.discard(reference)
            self._storage.remove(f"{reference}/{MANIFEST}")
            self._clear(reference, bundle)

    def _clear(self, reference: str, bundle: Bundle | None) -> None:
        if bundle is not None and bundle.folder is not None:
            self._storage.remove(f"{reference}/{bundle.folder}", folder=True)


def _saved_at(key: Mapping[str, Any]) -> float:
    """Return when a work folder was saved; 0 where its manifest, from anybody, does not say."""
    saved = key.get(SAVED)
    return float(saved) if isinstance(saved, int | float) else 0.0
