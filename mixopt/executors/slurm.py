"""The executor of a SLURM cluster, through submitit: each job is one of SLURM's.

The folder of the study lies where all nodes see it. A job that reaches its time limit, or is preempted,
is put into the queue again by submitit and goes on from what is finished.
"""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from mixopt.config.executors import SlurmExecutorConfig as Recipe
from mixopt.errors import MissingExtraError, UserError
from mixopt.executors.base import WorkerLostError, attempt
from mixopt.executors.job import Job, WorkerFactory

try:
    import submitit
except ImportError:
    raise MissingExtraError(
        "`executor: slurm` needs submitit; install it: pip install 'mixopt[slurm]'"
    ) from None

log = logging.getLogger(__name__)

POLL_S = {"slurm": 5.0, "local": 0.2}
"""How often jobs are looked at; the accounting of a busy cluster answers slowly."""


PAUSES_S = (5.0, 15.0, 45.0, 120.0)
"""Between tries to put a job into the queue."""
SUBMITTING = (submitit.core.utils.FailedJobError, OSError, CalledProcessError)
"""What a queue that does not answer raises."""
MOST_TIMEOUTS = 1000
"""How often a job that reached its time limit is queued again: it goes on from what is finished."""


def _is_over(queued: Any) -> bool:
    try:
        return bool(queued.done())
    except Exception as error:  # a file system or a queue that does not answer; it is asked again
        log.warning("SLURM job %s cannot be looked at (%s).", queued.job_id, error)
        return False


class _Work(submitit.helpers.Checkpointable):  # type: ignore[misc]
    """What a SLURM job runs; put into the queue again, it does the same and finds what is finished."""

    def __call__(self, hire: WorkerFactory, job: Job) -> Exception | None:
        return attempt(lambda asked: hire()(asked), job)


class SlurmExecutorConfig:
    """Jobs in SLURM's queue.

    Args:
        hire: Makes a worker inside a job.
        slots: Jobs in the queue at the same time.
        queue: submitit's executor.
        poll_s: Seconds between looks at the jobs.
    """

    coarse = True
    """A job waits in the queue and loads its models anew."""
    remote = True

    def __init__(self, hire: WorkerFactory, slots: int, queue: Any, poll_s: float) -> None:
        self.slots = slots
        self._hire, self._queue, self._poll_s = hire, queue, poll_s
        self._running: list[tuple[Any, Job, Future[Exception | None]]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def submit(self, job: Job) -> "Future[Exception | None]":
        """Put into the queue at once."""
        promised: Future[Exception | None] = Future()
        try:
            queued = self._queue_up(job)
        except SUBMITTING as error:
            told = " ".join(str(error).split())[:200]
            promised.set_exception(WorkerLostError(f"SLURM does not take {job.name} ({told})."))
            return promised
        with self._lock:
            self._running.append((queued, job, promised))
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, daemon=True)
                self._watcher.start()
        return promised

    def _queue_up(self, job: Job) -> Any:
        """Submitit's job; a queue that is full or busy is asked again for some minutes."""
        for pause in PAUSES_S:
            try:
                return self._queue.submit(_Work(), self._hire, job)
            except SUBMITTING as error:
                log.warning(
                    "SLURM does not take a job now (%s); asking again in %g s.", error, pause
                )
                if self._closed.wait(pause):
                    break
        return self._queue.submit(_Work(), self._hire, job)

    def _watch(self) -> None:
        while not self._closed.wait(self._poll_s):
            with self._lock:
                over = [row for row in self._running if _is_over(row[0])]
                self._running = [row for row in self._running if row not in over]
            for queued, job, promised in over:
                self._end(queued, job, promised)

    def _end(self, queued: Any, job: Job, promised: "Future[Exception | None]") -> None:
        try:
            promised.set_result(queued.result())
        except Exception as error:  # whatever submitit says of a job that left no result
            told = " ".join(str(error).split())[:200]
            promised.set_exception(
                WorkerLostError(
                    f"SLURM job {queued.job_id} ended before {job.name} was done ({told}); its log is "
                    f"{queued.paths.stderr}."
                )
            )

    def close(self) -> None:
        """Cancels what is in the queue."""
        self._closed.set()
        with self._lock:
            running, self._running = self._running, []
        for queued, _, _ in running:
            try:
                queued.cancel()
            except (*SUBMITTING, RuntimeError) as error:  # the others are cancelled all the same
                log.warning("SLURM job %s could not be cancelled (%s).", queued.job_id, error)
        until = time.monotonic() + self._poll_s
        if self._watcher is not None:
            self._watcher.join(max(0.0, until - time.monotonic()))


def open_executor(
    recipe: Recipe, hire: WorkerFactory, folder: Path, cards: Sequence[str]
) -> SlurmExecutorConfig:
    """Jobs as the recipe describes them; their logs are under `folder`.

    Raises:
        UserError: This machine has no SLURM.
    """
    try:
        queue = submitit.AutoExecutor(
            folder=folder / "%j", cluster=recipe.cluster, slurm_max_num_timeout=MOST_TIMEOUTS
        )
    except RuntimeError as error:
        told = " ".join(str(error).split())
        raise UserError(
            f"This machine has no SLURM ({told}); submit from a login node, or set executor.cluster: "
            "local."
        ) from None
    asked: dict[str, Any] = {
        "timeout_min": recipe.minutes,
        "cpus_per_task": recipe.cpus,
        "gpus_per_node": recipe.gpus,
        "nodes": 1,
        "tasks_per_node": 1,
        "name": "mixopt",
    }
    if recipe.memory_gb is not None:
        asked["mem_gb"] = recipe.memory_gb
    for name in ("partition", "account", "qos", "constraint"):
        value = getattr(recipe, name)
        if value is not None:
            asked[f"slurm_{name}"] = value
    queue.update_parameters(**asked)
    return SlurmExecutorConfig(hire, recipe.workers, queue, POLL_S[recipe.cluster])
