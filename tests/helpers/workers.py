"""Workers for tests of executors: they write marks into a folder, and fail or die as jobs say."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mixopt.errors import ConfigError, DivergedError
from mixopt.executors.job import Job

HELPERS = Path(__file__).parent
MEETING_TIMEOUT_S = 300.0
"""Only reached where jobs that should overlap do not."""


class MarkingWorker:
    """Appends its process id to a mark of each job, so that tries and processes can be counted."""

    def __call__(self, job: Job) -> None:
        folder, how = job.arguments
        mark = _mark(folder, job.name)
        with mark.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        n_tries = len(mark.read_text().splitlines())
        if how == "sleeps":
            time.sleep(600)
        if how == "meets":
            _wait_for_another(mark)
        if how == "dies" or (how == "dies once" and n_tries == 1):
            os.kill(os.getpid(), 9)
        if how == "fails" or (how == "fails once" and n_tries == 1):
            raise OSError(f"{job.name} met a bad card")
        if how == "diverges":
            raise DivergedError(f"The loss of {job.name} stopped being finite.")
        if how == "is wrong":
            raise ConfigError(f"{job.name} is not what it should be.")
        if how == "cannot be sent":
            raise StubbornError(lambda: None)


class StubbornError(Exception):
    """An error that cannot be pickled."""


@dataclass
class MarkingWorkerFactory:
    """Makes a worker in its process."""

    def __call__(self) -> MarkingWorker:
        return MarkingWorker()


def job(folder: Path, name: str, how: str = "works", *, trains: bool = False) -> Job:
    return Job("mark", (folder, how), name, trains=trains)


def processes_of(folder: Path, name: str) -> list[int]:
    """Process ids of the tries of a job."""
    mark = _mark(folder, name)
    return [int(line) for line in mark.read_text().splitlines()] if mark.exists() else []


@contextmanager
def importable_in_workers() -> Iterator[None]:
    """Let workers in other processes import this module."""
    import pytest  # not in workers, which would load it each time

    with pytest.MonkeyPatch.context() as patch:
        paths = [str(HELPERS), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        yield


@contextmanager
def ray_cluster(n_cpus: int) -> Iterator[None]:
    """A Ray cluster on this machine."""
    import pytest

    ray = pytest.importorskip("ray")
    with importable_in_workers(), pytest.MonkeyPatch.context() as patch:
        # short, as paths of sockets must be; of this process alone, or its clusters would join others'
        folder = f"/tmp/mixopt-ray-{os.getpid()}"
        os.makedirs(folder, exist_ok=True)
        patch.setenv("RAY_TMPDIR", folder)
        ray.init(num_cpus=n_cpus, include_dashboard=False, log_to_driver=False,
                 configure_logging=False, object_store_memory=100_000_000)  # fmt: skip
        yield
        ray.shutdown()


def _mark(folder: Path, name: str) -> Path:
    return folder / name.replace(" ", "-")


def _wait_for_another(mark: Path) -> None:
    """Return once another job of the same kind has begun, which then waits for this one too."""
    deadline = time.monotonic() + MEETING_TIMEOUT_S
    while len(list(mark.parent.glob("meeting-*"))) < 2:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{mark.name} was alone")
        time.sleep(0.02)
