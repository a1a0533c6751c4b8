"""Where a study's work is done and kept."""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from mixopt.artifacts.artifact import hash_key
from mixopt.artifacts.remote_store import RemoteArtifactStore
from mixopt.artifacts.store import ArtifactStore, RankZeroStore

if TYPE_CHECKING:
    from mixopt.training.distributed import ProcessGroup


@dataclass(frozen=True)
class RunEnvironment:
    """Where a study's work is done and kept.

    Attributes:
        store: Folder of the artifact store on the machine that drives the study.
        cache: Folder of tokenized corpora.
        storage: URL that workers share with it; None where all see the same disk.
        device: `auto`, `cpu`, `cuda`, ...
        run_code: Whether programs that models write may be run.
    """

    store: Path
    cache: Path
    storage: str | None
    device: str
    run_code: bool

    def open_stores(self, *, read_only: bool = False) -> tuple[ArtifactStore, ArtifactStore]:
        """Return the store of the study and that of its corpora."""
        if read_only:
            return ArtifactStore(self.store, read_only=True), ArtifactStore(
                self.cache, read_only=True
            )
        if is_launched():
            ranks = join_launch(cpu=self.device == "cpu")
            return RankZeroStore(self.store, ranks), RankZeroStore(self.cache, ranks)
        if self.storage is None:
            return ArtifactStore(self.store), ArtifactStore(self.cache)
        url = self.storage.rstrip("/")
        return (
            RemoteArtifactStore(self.store, f"{url}/artifacts"),
            RemoteArtifactStore(self.cache, f"{url}/cache"),
        )

    def on_another_machine(self) -> "RunEnvironment":
        """Return the same environment with folders that exist on a machine without this disk."""
        if self.storage is None:
            return self
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
        root = Path(gettempdir()) / f"mixopt-{user}-{hash_key({'storage': self.storage})}"
        return RunEnvironment(
            root / "artifacts", root / "cache", self.storage, self.device, self.run_code
        )


def is_launched() -> bool:
    """Return whether torchrun or accelerate started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_silent() -> bool:
    """Return whether another process of the launch reports progress."""
    return is_launched() and os.environ.get("RANK", "0") != "0"


def join_launch(*, cpu: bool) -> "ProcessGroup":
    """Return the processes of the launch."""
    from mixopt.training.distributed import ProcessGroup

    return ProcessGroup.launched(cpu=cpu)
