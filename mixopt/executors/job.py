"""Jobs: parts of a study that any worker can do, described by plain values."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from mixopt.artifacts.artifact import Artifact


@dataclass(frozen=True)
class Job:
    """One unit of work; its results are artifacts, so it returns nothing.

    Attributes:
        verb: What a worker does.
        arguments: Plain values.
        name: Name for messages.
        artifacts: What it builds; the driver looks for them and does not send them to workers.
        trains: Whether it trains a model, which takes long and needs the device for itself.
        once: Whether it is given up where an earlier process saw its training diverge. A study can spare
            one run of many, and an expert it cannot.
    """

    verb: str
    arguments: tuple[Any, ...]
    name: str
    artifacts: tuple[Artifact, ...] = ()
    trains: bool = False
    once: bool = False


Outcome = Future[Exception | None]
"""A future of a job's error, or of None if it succeeded; raises `WorkerLostError` if unknown."""
Worker = Callable[[Job], None]
"""Does jobs, one after another, and keeps loaded models between them."""
WorkerFactory = Callable[[], Worker]
"""Makes a worker on the machine where it works; it is sent there, so it can be pickled."""


class JobDispatcher(Protocol):
    """Has jobs done."""

    @property
    def slots(self) -> int:
        """Number of jobs that run at the same time."""

    @property
    def prefers_large_jobs(self) -> bool:
        """Whether starting a job costs so much that each should hold a share of all the work."""

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Exception | None]]:
        """Yield each job when its artifacts exist, or with the error after which it was given up.

        Args:
            jobs: The next one is taken when a worker is free, so a job costs the same among many.

        Raises:
            UserError: The input of a job is wrong, so no other attempt can succeed.
            StorageError: A result could not be written.
            RunError: A worker built other artifacts than the job's.
            MissingArtifactError: A job has neither succeeded nor failed, and the store is read-only.
        """

    def close(self) -> None:
        """Stop the workers; the next job starts new ones."""
