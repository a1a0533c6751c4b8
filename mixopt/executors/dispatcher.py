"""Dispatchers: a study's jobs done by an executor's workers, by this process, or found in the store."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from queue import SimpleQueue

from mixopt.artifacts.store import (
    VISIBLE_AFTER_S,
    ArtifactStore,
    MissingArtifactError,
    find_soon,
)
from mixopt.errors import DivergedError, RunError, StorageError, UserError, one_line
from mixopt.executors.base import Executor, WorkerLostError
from mixopt.executors.job import Job, Outcome, Worker
from mixopt.io.progress import Work

log = logging.getLogger(__name__)

FATAL = (UserError, StorageError)
"""Failures that end the study: wrong input, a full disk."""
NOT_RETRIED = (DivergedError,)
"""Failures that the same job would repeat."""


class Dispatcher:
    """Runs jobs on an executor, which is opened with the first job that has to be done.

    Args:
        open_executor: Opens the executor.
        store: Where jobs' artifacts are looked for.
        retries: Number of further attempts at a failed job.
    """

    def __init__(
        self, open_executor: Callable[[], Executor], store: ArtifactStore, retries: int
    ) -> None:
        self._open, self._store, self._retries = open_executor, store, retries

    @cached_property
    def _executor(self) -> Executor:
        return self._open()

    @property
    def slots(self) -> int:
        return self._executor.slots

    @property
    def prefers_large_jobs(self) -> bool:
        return self._executor.prefers_large_jobs

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Exception | None]]:
        ended: SimpleQueue[tuple[Job, int, Outcome]] = SimpleQueue()
        fresh, again = iter(jobs), deque[tuple[Job, int]]()
        running = 0
        shown: dict[int, Work] = {}
        while True:
            while running == 0 or running < self._executor.slots:
                if again:
                    job, attempt = again.popleft()
                else:
                    next_job = next(fresh, None)
                    if next_job is None:
                        break
                    job, attempt = next_job, 0
                    if _is_built(job, self._store):
                        yield job, None
                        continue
                    if (diverged := _find_divergence(job, self._store)) is not None:
                        yield job, diverged
                        continue
                self._submit(job, attempt + 1, ended)
                shown[id(job)] = Work(job.name)
                running += 1
            if not running:
                return
            job, attempt, future = ended.get()
            running -= 1
            shown.pop(id(job)).close()
            error = _result_of(future)
            if error is None:
                for artifact in job.artifacts:
                    self._store.forget_failure(artifact)
                _require_built(job, self._store, wait=self._executor.is_remote)
                yield job, None
                continue
            if isinstance(error, WorkerLostError):  # the worker could not record it
                for artifact in job.artifacts:
                    if self._store.find(artifact) is None:  # it may have finished some of them
                        self._store.record_failure(artifact, error)
            if _should_retry(error, attempt, self._retries, remote=self._executor.is_remote):
                log.warning("%s failed (%s) and is tried again.", job.name, one_line(error))
                again.append((job, attempt))
            else:
                self._record(job, error)
                yield job, error

    def _record(self, job: Job, error: Exception) -> None:
        """Record an error that a worker on another machine recorded there alone."""
        missing = [each for each in job.artifacts if self._store.find(each) is None]
        if missing and all(self._store.failure(each) is None for each in missing):
            self._store.record_failure(missing[0], error)

    def _submit(self, job: Job, attempt: int, ended: SimpleQueue[tuple[Job, int, Outcome]]) -> None:
        future = self._executor.submit(replace(job, artifacts=()))
        future.add_done_callback(lambda done: ended.put((job, attempt, done)))

    def close(self) -> None:
        if "_executor" in self.__dict__:
            self._executor.close()
            del self.__dict__["_executor"]


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
        for job in jobs:
            if (diverged := _find_divergence(job, self._store)) is not None:
                yield job, diverged
                continue
            attempt, error = 0, None
            retry = not _is_built(job, self._store)
            while retry:
                attempt, error = attempt + 1, None
                try:
                    with Work(job.name):
                        self._worker(job)
                except Exception as failure:  # reported with the job, or raised by _should_retry
                    error = failure
                retry = error is not None and _should_retry(error, attempt, self._retries)
                if retry and error is not None:
                    log.warning("%s failed (%s) and is tried again.", job.name, one_line(error))
            if error is None:
                _require_built(job, self._store, wait=False)
            yield job, error

    def close(self) -> None:
        pass


class ReadOnlyDispatcher:
    """Runs no job: yields finished jobs, and failed ones with the error that was recorded.

    Args:
        store: Where jobs' artifacts and failures are looked for.
    """

    slots = 1
    prefers_large_jobs = False

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Exception | None]]:
        for job in jobs:
            missing = [each for each in job.artifacts if self._store.find(each) is None]
            # a run that diverged has a failure, and its scores have neither failure nor artifact
            failed = [found for each in missing if (found := self._store.failure(each)) is not None]
            if missing and not failed:
                raise MissingArtifactError(missing[0])
            yield job, RunError(failed[0].cause) if failed else None

    def close(self) -> None:
        pass


def _is_built(job: Job, store: ArtifactStore) -> bool:
    """Return whether everything that the job would build exists."""
    return bool(job.artifacts) and all(store.find(one) is not None for one in job.artifacts)


def _find_divergence(job: Job, store: ArtifactStore) -> DivergedError | None:
    """Return why a job that is done once diverged before; None if it did not."""
    for artifact in job.artifacts if job.once else ():
        if store.find(artifact) is None:
            failure = store.failure(artifact)
            return DivergedError(failure.cause) if failure and failure.diverged else None
    return None


def _require_built(job: Job, store: ArtifactStore, *, wait: bool) -> None:
    # `wait` for a network file system, which may be late
    for artifact in job.artifacts:
        if find_soon(artifact, store, VISIBLE_AFTER_S if wait else 0.0) is None:
            raise RunError(
                f"A worker reports that {job.name} is done, but built other artifacts than were asked "
                "for; run the same mixopt, Python and libraries on all machines."
            )


def _should_retry(error: Exception, attempt: int, retries: int, *, remote: bool = False) -> bool:
    """Return whether a failed job is tried again; raise `error` where it ends the study."""
    # a remote machine may have caused it: a missing driver, a disk of its own
    last = attempt > retries
    if isinstance(error, FATAL) and (last or not remote):
        raise error
    return not (last or isinstance(error, NOT_RETRIED))


def _result_of(future: Outcome) -> Exception | None:
    error = future.exception()
    if error is None:
        return future.result()
    if not isinstance(error, Exception):
        raise error
    return error
