"""The chorus: a journal for a study that was launched as several processes.

What is trained all of them make together; everything else the first one makes, and the others find.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import RunError

TOGETHER = {"base", "bases", "experts", "proxy-runs"}
"""Kinds of units that all processes make."""


class ProcessGroup(Protocol):
    """The processes of a launch, as one of them sees them."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""

    def broadcast(self, value: Any) -> Any:
        """What the first process says, for all."""


class RankZeroStore(ArtifactStore):
    """A journal that several processes use in step.

    Args:
        folder: That all of them see.
        ranks: Who they are.
    """

    def __init__(self, folder: Path, ranks: ProcessGroup) -> None:
        super().__init__(folder)
        self._ranks = ranks

    def make(
        self, kind: str, name: str, key: Mapping[str, Any], build: Callable[[Path], None]
    ) -> Path:
        """The folder of the unit: found, or made now by those who make its kind.

        Raises:
            RunError: The first process failed, of which it tells itself.
        """
        lacks = self._ranks.broadcast(self.find(kind, name, key) is None)
        error: Exception | None = None
        try:
            if self._ranks.is_main:
                super().make(kind, name, key, build)
            elif lacks and kind in TOGETHER:
                with tempfile.TemporaryDirectory() as scratch:
                    build(Path(scratch))
        except Exception as failure:
            error = failure
        # whoever fails says so when the others are done; in a step of training launchers end them all
        failed = self._ranks.broadcast(None if error is None else str(error))
        if error is not None:
            raise error
        if failed is not None:
            raise RunError(f"The first process failed: {failed}")
        return self.open(f"{kind}/{self.place(kind, name, key).name}")
