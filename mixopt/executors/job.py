"""Jobs: pieces of a study that any worker can do, told in plain values."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Found = TypeVar("Found")


@dataclass(frozen=True)
class Job:
    """One piece of work; what it makes are units of the journal, so it returns nothing.

    Attributes:
        verb: What a worker is to do.
        arguments: Plain values.
        name: What a reader calls it.
        trains: Whether it trains a model, which lasts and needs the device for itself.
    """

    verb: str
    arguments: tuple[Any, ...]
    name: str
    trains: bool = False


SEEN_AFTER_S = 65.0
"""Network file systems show after a minute at most what another machine has written."""


def wait_for(find: Callable[[], Found | None], seconds: float) -> Found | None:
    """What `find` finds, asked again until `seconds` are over."""
    until, pause = time.monotonic() + seconds, 0.05
    found = find()
    while found is None and time.monotonic() < until:
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
        found = find()
    return found


Worker = Callable[[Job], None]
"""Does jobs, one after another, and keeps what it has loaded between them."""
WorkerFactory = Callable[[], Worker]
"""Makes a worker where it will work; it is sent there, so it can be pickled."""


class JobDispatcher(Protocol):
    """Has jobs done, wherever that is."""

    @property
    def slots(self) -> int:
        """Jobs that are done at the same time."""

    @property
    def coarse(self) -> bool:
        """Whether a job costs so much to begin that it should hold a share of all the work."""

    @property
    def remote(self) -> bool:
        """Whether what is made may take a while to be seen from here."""

    def do(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Exception | None]]:
        """Each job as it is finished or given up, with what it failed of; others go on.

        Raises:
            UserError: The input of a job is wrong, which no other try would mend.
            StorageError: What was made could not be kept.
        """

    def close(self) -> None:
        """Lets the workers go; the next job gets new ones."""
