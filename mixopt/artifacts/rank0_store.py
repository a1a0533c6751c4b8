"""The artifact store of a study that torchrun or accelerate launched as several processes.

All processes train together; the first one builds everything else, and the others read it.
"""

import tempfile
from pathlib import Path
from typing import Any, Protocol

from mixopt.artifacts.artifact import Artifact
from mixopt.artifacts.store import ArtifactStore, Build
from mixopt.errors import RunError

COLLECTIVE = {"base", "bases", "experts", "proxy-runs"}
"""Kinds that all processes build together."""


class ProcessGroup(Protocol):
    """The processes of a launch, seen from one of them."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""

    def broadcast(self, value: Any) -> Any:
        """Return the first process's value on every process."""


class RankZeroStore(ArtifactStore):
    """A store that several processes use in step.

    Args:
        folder: Root of the store, visible to all processes.
        ranks: The processes.
    """

    def __init__(self, folder: Path, ranks: ProcessGroup) -> None:
        super().__init__(folder)
        self._ranks = ranks

    def get_or_build(self, artifact: Artifact, build: Build) -> Path:
        """Return the artifact's folder; the processes that build its kind call `build` if needed.

        Raises:
            RunError: The first process failed; it reports the cause itself.
        """
        missing = self._ranks.broadcast(self.find(artifact) is None)
        error: Exception | None = None
        try:
            if self._ranks.is_main:
                super().get_or_build(artifact, build)
            elif missing and artifact.kind in COLLECTIVE:
                with tempfile.TemporaryDirectory() as scratch:
                    build(Path(scratch))
        except Exception as failure:
            error = failure
        # a process reports its failure after the others have finished; launchers kill all ranks of a
        # failed training step
        failed = self._ranks.broadcast(None if error is None else str(error))
        if error is not None:
            raise error
        if failed is not None:
            raise RunError(f"The first process failed: {failed}")
        return self.open(artifact.reference)
