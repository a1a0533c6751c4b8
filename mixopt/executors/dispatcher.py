"""Dispatching: jobs given to workers as they become free, tried again, and given up in the end."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import cached_property
from queue import SimpleQueue

from mixopt.errors import DivergedError, StorageError, UserError
from mixopt.executors.base import Executor
from mixopt.executors.job import Job

log = logging.getLogger(__name__)

ENDS_ALL = (UserError, StorageError)
"""Failures that the whole study shares: wrong input, a full disk."""
FINAL = (DivergedError,)
"""Failures that the same work would meet again."""


class Dispatcher:
    """A crew: has jobs done by an executor, which is opened with the first of them.

    Args:
        open_executor: Opens it.
        retries: How often a job that failed is tried again.
        ended: Is told of each try: the job, and what it failed of, if it did.
    """

    def __init__(
        self,
        open_executor: Callable[[], Executor],
        retries: int,
        ended: Callable[[Job, Exception | None], None] = lambda *_: None,
    ) -> None:
        self._open, self._retries, self._ended = open_executor, retries, ended

    @cached_property
    def _executor(self) -> Executor:
        return self._open()

    @property
    def slots(self) -> int:
        """Jobs that are done at the same time."""
        return self._executor.slots

    @property
    def coarse(self) -> bool:
        """Whether a job should hold a share of all the work."""
        return self._executor.coarse

    @property
    def remote(self) -> bool:
        """Whether what is made may take a while to be seen from here."""
        return self._executor.remote

    def do(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Exception | None]]:
        """Each job as it is finished or given up, with what it failed of.

        A job is taken from `jobs` when a worker is free for it, and costs the same however many
        workers there are.

        Raises:
            UserError: The input of a job is wrong.
            StorageError: What was made could not be kept.
        """
        ended: SimpleQueue[tuple[Job, int, Future[Exception | None]]] = SimpleQueue()
        fresh, again = iter(jobs), deque[tuple[Job, int]]()
        flying = 0
        while True:
            while flying == 0 or flying < self._executor.slots:
                if again:
                    job, tried = again.popleft()
                else:
                    found = next(fresh, None)
                    if found is None:
                        break
                    job, tried = found, 0
                self._send(job, tried + 1, ended)
                flying += 1
            if not flying:
                return
            job, tried, future = ended.get()
            flying -= 1
            error = _result(future)
            self._ended(job, error)
            if error is None:
                yield job, None
                continue
            last = tried > self._retries
            # of another machine it may be the fault: a driver that is missing, a disk of its own
            if isinstance(error, ENDS_ALL) and (last or not self._executor.remote):
                raise error
            if isinstance(error, FINAL) or last:
                yield job, error
                continue
            log.warning("%s failed (%s) and is tried again.", _begin(job.name), _tell(error))
            again.append((job, tried))

    def _send(
        self, job: Job, tried: int, ended: "SimpleQueue[tuple[Job, int, Future[Exception | None]]]"
    ) -> None:
        future = self._executor.submit(job)
        future.add_done_callback(lambda over: ended.put((job, tried, over)))

    def close(self) -> None:
        """Lets the workers go."""
        if "_executor" in self.__dict__:
            self._executor.close()
            del self.__dict__["_executor"]


def _result(future: "Future[Exception | None]") -> Exception | None:
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, Exception):
        raise error
    return error


def _begin(name: str) -> str:
    return name[:1].upper() + name[1:]


def _tell(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
