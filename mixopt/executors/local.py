"""Jobs done in this process, one at a time."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from mixopt.artifacts.store import ArtifactStore
from mixopt.errors import one_line
from mixopt.executors.dispatcher import is_built, require_built, should_retry
from mixopt.executors.job import Job, Worker

log = logging.getLogger(__name__)


class LocalDispatcher:
    """Runs each job in this process when it is asked for.

    Args:
        make_worker: Makes the worker, with the first job that has to be done.
        store: Where jobs' artifacts are looked for.
        retries: Number of further attempts at a failed job.
    """

    slots = 1
    prefers_large_jobs = False

    def __init__(
        self, make_worker: Callable[[], Worker], store: ArtifactStore, retries: int
    ) -> None:
        self._make_worker, self._store, self._retries = make_worker, store, retries

    @cached_property
    def _worker(self) -> Worker:
        return self._make_worker()

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Exception | None]]:
        """Yield each job when its artifacts exist, or with the error after which it was given up.

        Raises:
            UserError: The input of a job is wrong.
            StorageError: A result could not be written.
        """
        for job in jobs:
            attempt, error = 0, None
            retry = not is_built(job, self._store)
            while retry:
                attempt, error = attempt + 1, None
                try:
                    self._worker(job)
                except Exception as failure:  # reported with the job, or raised by should_retry
                    error = failure
                retry = error is not None and should_retry(error, attempt, self._retries)
                if retry and error is not None:
                    log.warning("%s failed (%s) and is tried again.", job.name, one_line(error))
            if error is None:
                require_built(job, self._store, wait=False)
            yield job, error

    def close(self) -> None:
        """Do nothing: there is no process to stop."""
