"""Where a study's work is done and kept."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir

from mixopt.artifacts.artifact import hash_key
from mixopt.artifacts.remote_store import RemoteArtifactStore
from mixopt.artifacts.store import ArtifactStore, RankZeroStore
from mixopt.config.executors import ExecutorConfig


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
        store, cache = self.store, self.cache
        if read_only:
            return (
                ArtifactStore(store, read_only=True),
                ArtifactStore(cache, read_only=True, is_shared=True),
            )
        if is_launched():
            from mixopt.training.distributed import ProcessGroup

            ranks = ProcessGroup.launched(cpu=self.device == "cpu")
            return RankZeroStore(store, ranks), RankZeroStore(cache, ranks, is_shared=True)
        if self.storage is None:
            return ArtifactStore(store), ArtifactStore(cache, is_shared=True)
        study_url, cache_url = (f"{self.storage.rstrip('/')}/{n}" for n in ("artifacts", "cache"))
        return (
            RemoteArtifactStore(store, study_url),
            RemoteArtifactStore(cache, cache_url, is_shared=True),
        )

    def on_another_machine(self) -> "RunEnvironment":
        """Return the same environment with folders that exist on a machine without this disk."""
        if self.storage is None:
            return self
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
        root = Path(gettempdir()) / f"mixopt-{user}-{hash_key({'storage': self.storage})}"
        return replace(self, store=root / "artifacts", cache=root / "cache")


def describe_idle_cards(
    executor: ExecutorConfig, cards: int, *, wants_cards: bool = False
) -> str | None:
    """Return a warning where a study leaves cards idle that it asks for, sees or needs.

    Args:
        executor: Of the study.
        cards: That the process which drives the study sees; 0 where it does not train on cards.
        wants_cards: Whether the study starts from a pretrained base and was not told to use CPUs.
    """
    if executor.kind in ("ray", "slurm"):
        if not executor.gpus and wants_cards:
            return (
                f"Workers of executor: {executor.kind} train the pretrained base on CPUs, because "
                "executor.gpus is 0 if left out; set executor: {kind: "
                f"{executor.kind}, gpus: 1}} in the study, or pass --device cpu if CPUs are meant."
            )
        if executor.gpus <= 1:
            return None
        return (
            f"Each worker has {executor.gpus:g} GPUs and trains and scores on one of them; set "
            "executor.gpus: 1 for more workers, or launch `mixopt train` by accelerate where a model "
            "needs several."
        )
    if executor.kind == "processes" or cards < 2 or is_launched():
        return None
    return (
        f"This machine has {cards} GPUs, and executor: local uses one; set executor: processes for one "
        "worker on each."
    )


def is_launched() -> bool:
    """Tell apart a launch of several processes.

    Returns:
        Whether torchrun or accelerate started this process as one of several.
    """
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_silent() -> bool:
    """Return whether another process of the launch reports progress."""
    return is_launched() and os.environ.get("RANK", "0") != "0"
