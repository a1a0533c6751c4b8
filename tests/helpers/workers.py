"""Workers for tests of executors: they write marks into a folder, fail and die as jobs ask."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from mixopt.errors import ConfigError, DivergedError
from mixopt.executors.job import Job


@dataclass
class Marker:
    """Each job's mark says how often it was tried, and by which process."""

    folder: Path

    def __call__(self, job: Job) -> None:
        how, seconds = job.arguments
        mark = self.folder / job.name.replace(" ", "-")
        with mark.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        time.sleep(seconds)
        tries = len(mark.read_text().splitlines())
        if how == "dies" or (how == "dies once" and tries == 1):
            os.kill(os.getpid(), 9)
        if how == "fails" or (how == "fails once" and tries == 1):
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
class HireMarker:
    """Makes a worker where it will work."""

    folder: Path

    def __call__(self) -> Marker:
        return Marker(self.folder)


def job(name: str, how: str = "works", seconds: float = 0.0, *, trains: bool = False) -> Job:
    return Job("mark", (how, seconds), name, trains=trains)


def tries(folder: Path, name: str) -> int:
    mark = folder / name.replace(" ", "-")
    return len(mark.read_text().splitlines()) if mark.exists() else 0
