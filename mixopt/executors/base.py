"""The `Executor` protocol, and what its implementations share. Each engine has a file of its own."""

import pickle
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from mixopt.config.executors import ExecutorConfig
from mixopt.errors import EXTRAS, RunError, one_line, require_extra
from mixopt.executors.job import Job, Outcome, Worker, WorkerFactory

ENGINES: Mapping[str, str] = {
    "processes": "mixopt.executors.processes",
    "ray": "mixopt.executors.ray",
    "slurm": "mixopt.executors.slurm",
}
"""Modules with a function `open_executor` as below, by kind; `local` needs no engine."""


class WorkerLostError(RunError):
    """A worker ended before its job did: it was killed, ran out of memory, or its machine failed."""


class Executor(Protocol):
    """Runs jobs on workers.

    Attributes:
        slots: Number of jobs that run at the same time.
        prefers_large_jobs: Whether a job costs so much to start that it should hold a share of all
            the work.
        is_remote: Whether workers are on other machines, which may lack what this one has.
    """

    slots: int
    prefers_large_jobs: bool
    is_remote: bool

    def submit(self, job: Job) -> Outcome:
        """Queue a job."""

    def close(self) -> None:
        """End all workers at once, busy ones too."""


def open_executor(
    config: ExecutorConfig, make_worker: WorkerFactory, folder: Path, gpus: Sequence[str] = ()
) -> Executor:
    """Open the executor that a config describes.

    Args:
        config: Of any kind but `local`.
        make_worker: Makes a worker in its process.
        folder: Folder for the engine's own files, such as logs.
        gpus: This machine's GPUs, as CUDA_VISIBLE_DEVICES names them.

    Raises:
        MissingExtraError: The engine's package is not installed.
        UserError: The engine cannot give the resources that the config asks for.
    """
    if config.kind in EXTRAS:
        require_extra(config.kind)
    engine = import_module(ENGINES[config.kind])
    return cast(Executor, engine.open_executor(config, make_worker, folder, gpus))


def run_job(worker: Worker, job: Job) -> Exception | None:
    """Run a job; return its error, or None if it succeeded.

    Args:
        worker: Does the job, in this process.
        job: What is to be done.

    Returns:
        The error without traceback and cause, as a `RunError` where it cannot be pickled.
    """
    try:
        worker(job)
    except Exception as error:
        plain = error.with_traceback(None)
        plain.__cause__ = plain.__context__ = None
        try:
            pickle.loads(pickle.dumps(plain))
        except Exception:  # what an exception class of another library raises here is unknown
            return RunError(f"{type(error).__name__}: {one_line(error)}")
        return plain
    return None
