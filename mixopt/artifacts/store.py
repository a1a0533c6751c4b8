"""The artifact store: each result is built once, kept whole, and found by the key that determines it."""

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mixopt.artifacts.artifact import (
    Artifact,
    ArtifactRecord,
    build_lock,
    explain_rebuild,
    find_verified,
    folder_stem,
    is_locked,
    mark_verified,
    seal,
    work_folder_of,
)
from mixopt.errors import DivergedError, RunError, StorageError, UserError, one_line
from mixopt.io.files import publish_folder, write_text

if TYPE_CHECKING:
    from mixopt.training.distributed import ProcessGroup

log = logging.getLogger(__name__)

MANY = {
    "candidates", "fingerprints", "scores", "logprobs", "estimates", "slopes", "runs", "fits",
    "proposals",
}  # fmt: skip
"""Kinds in which one name has many keys: another key is another artifact, not a change."""
COLLECTIVE = {"base", "bases", "experts", "runs", "proxy-runs"}
"""Kinds that all processes of a launch build together."""
FAILURES = "failures"
"""Folder of recorded failures, by kind."""

VISIBLE_AFTER_S = 65.0
"""Network file systems show within a minute what another machine has written."""

State = Literal["done", "running", "failed", "missing"]
Build = Callable[[Path], None]
"""Writes an artifact's files into a scratch folder."""
CountSeconds = Callable[[], float]
"""Returns the seconds that a build took, with those of other attempts and devices."""


class MissingArtifactError(UserError):
    """A result is needed that has not been built.

    Attributes:
        artifact: The result.
    """

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(f"{artifact.reference} has not been built; run the study first.")
        self.artifact = artifact


@dataclass(frozen=True)
class Failure:
    """A build that failed and has not succeeded since.

    Attributes:
        kind: Of the artifact.
        name: Of the artifact.
        folder: Folder name of the artifact.
        cause: The error in one line.
        times: Number of attempts.
        diverged: Whether a training diverged, which the same training would repeat.
    """

    kind: str
    name: str
    folder: str
    cause: str
    times: int
    diverged: bool = False


class ArtifactStore:
    """Artifacts under one folder, as `KIND/NAME-HASH/`.

    A folder appears by a rename when it is complete. A crash leaves a scratch folder that nothing reads.
    A failure is recorded under `failures/` until the build succeeds.

    Args:
        folder: Root of the store.
        read_only: Refuse to build: `get_or_build` raises `MissingArtifactError` instead.
        is_shared: Whether studies share it. An artifact of the same name may be another study's there,
            of which a new one is no rebuild.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, is_shared: bool = False) -> None:
        self.folder, self.read_only, self.is_shared = folder, read_only, is_shared
        self._killed: dict[str, dict[str, list[Path]]] = {}

    def get_or_build(
        self, artifact: Artifact, build: Build, count: CountSeconds | None = None
    ) -> Path:
        """Return the artifact's folder; call `build` with a scratch folder if it does not exist.

        Args:
            artifact: What is wanted.
            build: Writes its files.
            count: Called after `build`, for the manifest; the seconds of the call if left out.

        Raises:
            StorageError: The disk is full or the folder cannot be written.
            MissingArtifactError: It does not exist, and the store is read-only.
        """
        folder = self.path(artifact)
        found = find_verified(folder)
        if found is not None:
            return found
        if self.read_only:
            raise MissingArtifactError(artifact)
        try:
            with build_lock(folder):
                if find_verified(folder) is not None:  # another process built it meanwhile
                    return folder
                if artifact.kind not in MANY:
                    change = self.explain_rebuild(artifact)
                    if change:
                        log.info("%s is built again: %s.", artifact.name, change)
                for leftover in self._killed_builds(folder):
                    shutil.rmtree(leftover, ignore_errors=True)
                start = time.monotonic()
                with publish_folder(folder) as scratch:
                    build(scratch)
                    seconds = time.monotonic() - start if count is None else count()
                    seal(scratch, artifact.full_key, seconds, artifact.reference)
                mark_verified(folder)
                shutil.rmtree(work_folder_of(folder), ignore_errors=True)
        except Exception as error:
            self.record_failure(artifact, error)
            raise
        self.forget_failure(artifact)
        return folder

    def find(self, artifact: Artifact) -> Path | None:
        """Return the artifact's folder if it is complete and undamaged."""
        return find_verified(self.path(artifact))

    def get(self, artifact: Artifact) -> Path:
        """Return the artifact's folder.

        Raises:
            MissingArtifactError: It has not been built, or is damaged.
        """
        folder = self.find(artifact)
        if folder is None:
            raise MissingArtifactError(artifact)
        return folder

    def open(self, reference: str) -> Path:
        """Return the folder of the artifact at `KIND/NAME-HASH`.

        Raises:
            StorageError: It does not exist, or is damaged.
        """
        found = self.find_at(reference)
        if found is None:
            raise StorageError(f"{self.folder / reference} is missing or damaged; run again.")
        return found

    def find_at(self, reference: str) -> Path | None:
        """Return the folder of the artifact at `KIND/NAME-HASH` if it is complete and undamaged."""
        return find_verified(self.folder / reference)

    def find_all(self, kind: str, name: str) -> Iterator[Path]:
        """Yield the folders of complete artifacts of one name, whatever their keys."""
        for folder in sorted((self.folder / kind).glob(f"{folder_stem(name)}-*")):
            if (
                folder.name.rpartition("-")[0] == folder_stem(name)
                and find_verified(folder) is not None
            ):
                yield folder

    def list_kind(self, kind: str) -> Iterator[Path]:
        """Yield the folders of a kind without reading them."""
        yield from (self.folder / kind).glob("[!.]*")

    def path(self, artifact: Artifact) -> Path:
        """Return where the artifact lies, or would."""
        return self.folder / artifact.kind / artifact.folder_name

    def state(self, artifact: Artifact) -> State:
        """Return whether the artifact is done, being built now, failed, or missing."""
        if self.find(artifact) is not None:
            return "done"
        if is_locked(self.path(artifact)):
            return "running"
        return "missing" if self.failure(artifact) is None else "failed"

    def record(self, artifact: Artifact) -> ArtifactRecord | None:
        """Return the manifest of a finished artifact."""
        return ArtifactRecord.read(self.path(artifact))

    def explain_rebuild(self, artifact: Artifact) -> str:
        """Describe what changed since an artifact of this name was built; empty where nothing did."""
        if self.is_shared:
            return ""
        return explain_rebuild(self.path(artifact), artifact.full_key)

    def work_folder(self, artifact: Artifact) -> Path:
        """Return the folder in which a build keeps checkpoints; it is removed with the build's end."""
        return work_folder_of(self.path(artifact))

    def save_work(self, artifact: Artifact) -> None:
        """Make the work folder survive the loss of this machine; a local store cannot."""

    def failures(self) -> list[Failure]:
        """Return every recorded failure of an artifact that is not there, built by another attempt."""
        found = [
            self._read_failure(file)
            for file in sorted((self.folder / FAILURES).glob("*/*.json"))
            if find_verified(self.folder / file.parent.name / file.stem) is None
        ]
        return [failure for failure in found if failure is not None]

    def failure(self, artifact: Artifact) -> Failure | None:
        """Return the recorded failure of an artifact, if any."""
        return self._read_failure(self._failure_file(artifact))

    def record_failure(self, artifact: Artifact, error: Exception) -> None:
        """Record a failed build; a full disk adds a note to `error` instead."""
        before = self.failure(artifact)
        failure = {
            "kind": artifact.kind, "name": artifact.name, "folder": artifact.folder_name,
            "cause": one_line(error, limit=None), "times": 1 + (before.times if before else 0),
            "diverged": isinstance(error, DivergedError),
        }  # fmt: skip
        try:
            write_text(self._failure_file(artifact), json.dumps(failure, indent=2) + "\n")
        except Exception as unwritten:
            error.add_note(f"The failure could not be recorded ({unwritten}).")

    def forget_failure(self, artifact: Artifact) -> None:
        """Remove the record of a failure, also under older keys of the same name."""
        file = self._failure_file(artifact)
        file.unlink(missing_ok=True)
        if artifact.kind not in MANY and file.parent.is_dir():
            for other in file.parent.glob(f"{folder_stem(artifact.name)}-*.json"):
                if other.stem.rpartition("-")[0] == folder_stem(artifact.name):
                    other.unlink(missing_ok=True)

    def _killed_builds(self, folder: Path) -> list[Path]:
        """Return the scratch folders that killed builds of an artifact left.

        A kind's folder is listed once: with thousands of artifacts a listing for each would cost more
        than many builds.
        """
        if folder.parent.name not in self._killed:
            by_name: dict[str, list[Path]] = {}
            for path in folder.parent.glob(".*-*"):
                if path.suffix not in (".lock", ".begun"):
                    by_name.setdefault(path.name[1:].rpartition("-")[0], []).append(path)
            self._killed[folder.parent.name] = by_name
        return self._killed[folder.parent.name].pop(folder.name, [])

    def _failure_file(self, artifact: Artifact) -> Path:
        return self.folder / FAILURES / artifact.kind / f"{artifact.folder_name}.json"

    def _read_failure(self, file: Path) -> Failure | None:
        try:
            return Failure(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # none, or not written by mixopt
            return None


def find_soon(artifact: Artifact, store: ArtifactStore, seconds: float) -> Path | None:
    """Return the artifact's folder, looking again for at most `seconds`.

    Args:
        artifact: What another machine has built.
        store: Where it is looked for.
        seconds: 0 looks once.

    Returns:
        None if it is not there by then.
    """
    until, pause = time.monotonic() + seconds, 0.05
    found = store.find(artifact)
    while found is None and time.monotonic() < until:
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
        found = store.find(artifact)
    return found


class RankZeroStore(ArtifactStore):
    """A store of several processes that torchrun or accelerate launched, used in step.

    All processes train together; the first one builds everything else, and the others read it.

    Args:
        folder: Root of the store, visible to all processes.
        ranks: The processes.
        is_shared: Whether studies share it.
    """

    def __init__(self, folder: Path, ranks: "ProcessGroup", *, is_shared: bool = False) -> None:
        super().__init__(folder, is_shared=is_shared)
        self._ranks = ranks

    def get_or_build(
        self, artifact: Artifact, build: Build, count: CountSeconds | None = None
    ) -> Path:
        """Return the artifact's folder; the processes that build its kind call `build` if needed.

        A process that fails while all of them train ends at once, unless all fail alike: the others wait
        for it inside the training, and are ended by their launcher.

        Raises:
            RunError: The first process failed; it reports the cause itself.
            DivergedError: The training diverged, as all processes find.
        """
        trains_together, is_begun = artifact.kind in COLLECTIVE, False
        error: Exception | None = None
        if self._ranks.is_main:

            def begin(scratch: Path) -> None:
                nonlocal is_begun
                if trains_together:
                    # only here is it sure that it is missing, and that no other launch builds it
                    is_begun = self._ranks.broadcast(True)
                build(scratch)

            try:
                super().get_or_build(artifact, begin, count)
            except Exception as failure:
                error = failure
            if trains_together and not is_begun:
                self._ranks.broadcast(False)
        elif trains_together and (is_begun := self._ranks.broadcast(None)):
            try:
                with tempfile.TemporaryDirectory() as scratch:
                    build(Path(scratch))
            except Exception as failure:
                error = failure
        if is_begun and error is not None and not isinstance(error, DivergedError):
            self._ranks.abort(error)
        # what the first process builds alone, and a divergence, which all find, leave them in step
        failed = self._ranks.broadcast(None if error is None else str(error))
        if error is not None:
            raise error
        if failed is not None:
            raise RunError(f"The first process failed: {failed}")
        find_soon(artifact, self, VISIBLE_AFTER_S)
        return self.open(artifact.reference)
