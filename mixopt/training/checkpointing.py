"""The checkpoints of a training in progress, of which the last one is kept."""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mixopt.artifacts.artifact import ArtifactRecord, seal
from mixopt.training.distributed import ProcessGroup

NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class CheckpointManager:
    """Keeps the last checkpoint of a training until the training is finished.

    Attributes:
        folder: Folder of the checkpoints.
        interval_s: Seconds between checkpoints.
        on_saved: Called when a checkpoint is complete.
        processes: Processes that train together; only the main one writes.
        began: When this attempt began, by the monotonic clock.
    """

    folder: Path
    interval_s: float
    on_saved: Callable[[], None] = field(default=lambda: None)
    processes: ProcessGroup = ProcessGroup()
    began: float = field(default_factory=lambda: time.monotonic())

    @cached_property
    def _earlier_seconds(self) -> float:
        """Device time of earlier attempts, up to the checkpoint that this one goes on from."""
        records = map(ArtifactRecord.read, self.folder.glob("checkpoint-*"))
        return max((record.seconds for record in records if record is not None), default=0.0)

    @property
    def device_seconds(self) -> float:
        """Seconds that the training has taken so far, over all attempts and all devices."""
        # first, as a checkpoint of this attempt counts its own seconds too
        earlier = self._earlier_seconds
        return earlier + (time.monotonic() - self.began) * self.processes.world_size

    def latest(self) -> Path | None:
        """Return the last checkpoint that is complete and undamaged."""
        checkpoints = [p for p in self.folder.glob("checkpoint-*") if NAME.fullmatch(p.name)]
        for path in sorted(checkpoints, key=lambda p: int(p.name.rpartition("-")[2]), reverse=True):
            record = ArtifactRecord.read(path)
            if record is not None and record.find_damage() is None:
                return path
        return None

    def commit(self, checkpoint: Path) -> None:
        """Mark a checkpoint as complete, and delete those before it."""
        seal(checkpoint, {}, self.device_seconds)
        for path in self.folder.glob("checkpoint-*"):
            if path != checkpoint:
                shutil.rmtree(path, ignore_errors=True)
        self.on_saved()
