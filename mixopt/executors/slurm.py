"""The executor of a SLURM cluster, through submitit: each job is a job of SLURM.

The folder of the study is on a file system that all nodes see. A job that reaches its time limit or is
preempted is queued again by submitit and continues from the artifacts that are finished.

submitit pickles what a job is given: the study's config and the URL of its storage, which may hold
credentials. The folder is for its owner alone, and pickles are removed when their job has ended.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import submitit

from mixopt.config.executors import SlurmExecutorConfig
from mixopt.errors import UserError, one_line
from mixopt.executors.base import WorkerLostError, run_job
from mixopt.executors.job import Job, Outcome, WorkerFactory
from mixopt.io.files import storage_errors

log = logging.getLogger(__name__)

POLL_S = {"slurm": 5.0, "local": 0.2}
"""Seconds between looks at the jobs, by cluster; the accounting of a busy cluster is slow."""
SUBMIT_PAUSES_S = (5.0, 15.0, 45.0, 120.0)
"""Between tries to submit a job."""
QUEUE_ERRORS = (submitit.core.utils.FailedJobError, OSError, CalledProcessError)
"""What submitit raises when SLURM does not answer."""
MAX_TIMEOUTS = 1000
"""How often a job that reached its time limit is queued again."""
OWNER_ONLY = 0o700
"""Mode of the folder of jobs."""


class _JobFunction(submitit.helpers.Checkpointable):  # type: ignore[misc]
    """What a SLURM job runs; when it is queued again, it is called with the same arguments."""

    def __call__(self, make_worker: WorkerFactory, job: Job) -> Exception | None:
        return run_job(lambda job: make_worker()(job), job)


class SlurmExecutor:
    """Jobs in SLURM's queue.

    Args:
        make_worker: Makes a worker inside a job.
        slots: Number of jobs in the queue at the same time.
        queue: Executor of submitit.
        poll_s: Seconds between looks at the jobs.
    """

    prefers_large_jobs = True
    """A job waits in the queue and loads its models anew."""
    is_remote = True

    def __init__(self, make_worker: WorkerFactory, slots: int, queue: Any, poll_s: float) -> None:
        self.slots = slots
        self._make_worker, self._queue, self._poll_s = make_worker, queue, poll_s
        self._running: list[tuple[Any, Job, Outcome]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def submit(self, job: Job) -> Outcome:
        future: Outcome = Future()
        try:
            slurm_job = self._submit(job)
        except QUEUE_ERRORS as error:
            lost = WorkerLostError(f"SLURM does not take {job.name} ({one_line(error)}).")
            future.set_exception(lost)
            return future
        with self._lock:
            self._running.append((slurm_job, job, future))
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, daemon=True)
                self._watcher.start()
        return future

    def _submit(self, job: Job) -> Any:
        for pause in SUBMIT_PAUSES_S:
            try:
                return self._queue.submit(_JobFunction(), self._make_worker, job)
            except QUEUE_ERRORS as error:
                log.warning("SLURM does not take a job (%s); asking again in %g s.", error, pause)
                if self._closed.wait(pause):
                    break
        return self._queue.submit(_JobFunction(), self._make_worker, job)

    def _watch(self) -> None:
        while not self._closed.wait(self._poll_s):
            with self._lock:
                done = [entry for entry in self._running if _is_done(entry[0])]
                self._running = [entry for entry in self._running if entry not in done]
            for slurm_job, job, future in done:
                self._end_job(slurm_job, job, future)

    def _end_job(self, slurm_job: Any, job: Job, future: Outcome) -> None:
        lost: WorkerLostError | None = None
        try:
            result = slurm_job.result()
        except Exception as error:  # submitit raises many classes for a job without a result
            lost = WorkerLostError(
                f"SLURM job {slurm_job.job_id} ended before {job.name} was done "
                f"({one_line(error)}); its log is {slurm_job.paths.stderr}."
            )
        _remove_pickles(slurm_job.paths.folder)
        if lost is None:
            future.set_result(result)
        else:
            future.set_exception(lost)

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            running, self._running = self._running, []
        for slurm_job, _, _ in running:
            try:
                slurm_job.cancel()
            except (*QUEUE_ERRORS, RuntimeError) as error:
                log.warning("SLURM job %s could not be cancelled (%s).", slurm_job.job_id, error)
            _remove_pickles(slurm_job.paths.folder)
        if self._watcher is not None:
            self._watcher.join(self._poll_s)
        # a job that was not taken leaves its pickle beside the folders of jobs
        _remove_pickles(
            submitit.core.utils.JobPaths.get_first_id_independent_folder(self._queue.folder)
        )


def _remove_pickles(folder: Path) -> None:
    for file in folder.glob("*.pkl"):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s could not be removed (%s); it may hold credentials.", file, error)


def _is_done(slurm_job: Any) -> bool:
    try:
        return bool(slurm_job.done())
    except Exception as error:  # a file system or a queue that does not answer; it is asked again
        log.warning("SLURM job %s cannot be looked at (%s).", slurm_job.job_id, error)
        return False


def _make_private(folder: Path) -> None:
    with storage_errors(folder):
        folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        try:
            folder.chmod(OWNER_ONLY)  # one that was there before
        except PermissionError:
            log.warning("%s belongs to another user, who can read the jobs' credentials.", folder)


def open_executor(
    config: SlurmExecutorConfig, make_worker: WorkerFactory, folder: Path, gpus: Sequence[str]
) -> SlurmExecutor:
    """Open an executor whose jobs have the resources of the config; their logs are under `folder`.

    Raises:
        UserError: This machine has no SLURM.
        StorageError: The folder cannot be made.
    """
    try:
        options = {"cluster": config.cluster, "slurm_max_num_timeout": MAX_TIMEOUTS}
        _make_private(folder)
        queue = submitit.AutoExecutor(folder=folder / "%j", **options)
    except RuntimeError as error:
        raise UserError(
            f"This machine has no SLURM ({one_line(error)}); submit from a login node, or set "
            "executor.cluster: local."
        ) from None
    parameters: dict[str, Any] = {
        "timeout_min": config.minutes, "cpus_per_task": config.cpus, "gpus_per_node": config.gpus,
        "nodes": 1, "tasks_per_node": 1, "name": "mixopt",
    }  # fmt: skip
    if config.memory_gb is not None:
        parameters["mem_gb"] = config.memory_gb
    for name in ("partition", "account", "qos", "constraint"):
        value = getattr(config, name)
        if value is not None:
            parameters[f"slurm_{name}"] = value
    queue.update_parameters(**parameters)
    return SlurmExecutor(make_worker, config.workers, queue, POLL_S[config.cluster])
