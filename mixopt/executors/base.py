"""Executors: where jobs are done. One file for each engine; `open_executor` finds the one asked for."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from mixopt.config.executors import ExecutorConfig
from mixopt.errors import RunError
from mixopt.executors.job import Job, Worker, WorkerFactory

ENGINES: Mapping[str, str] = {
    "processes": "mixopt.executors.processes",
    "ray": "mixopt.executors.ray",
    "slurm": "mixopt.executors.slurm",
}
"""Modules with a function `open_executor` like the one below, by kind; `local` needs no engine."""


class WorkerLostError(RunError):
    """A worker ended before its job did: killed, out of memory, or its machine went away."""


class Executor(Protocol):
    """Takes jobs and has them done by workers.

    Attributes:
        slots: Workers.
        coarse: Whether a job should hold a share of all the work.
        remote: Whether workers are on other machines, which may lack what this one has.
    """

    slots: int
    coarse: bool
    remote: bool

    def submit(self, job: Job) -> "Future[Exception | None]":
        """What the job failed of, or None, when it is over; more jobs than slots wait their turn.

        The future itself raises `WorkerLostError` where nobody can say how the job ended.
        """

    def close(self) -> None:
        """Lets all workers go at once, whatever they are doing."""


def open_executor(
    recipe: ExecutorConfig, hire: WorkerFactory, folder: Path, cards: Sequence[str] = ()
) -> Executor:
    """The executor that `recipe` asks for.

    Args:
        recipe: Of any kind but `local`.
        hire: Makes a worker, wherever one is.
        folder: For what the engine itself writes.
        cards: This machine's GPUs, by the names that CUDA_VISIBLE_DEVICES takes.

    Raises:
        MissingExtraError: Its package is not installed.
        UserError: It cannot give what the recipe asks for.
    """
    engine = import_module(ENGINES[recipe.kind])
    return cast(Executor, engine.open_executor(recipe, hire, folder, cards))


def attempt(worker: Worker, job: Job) -> Exception | None:
    """What the job failed of, fit to be sent elsewhere; None if it is done."""
    try:
        worker(job)
    except Exception as error:
        return _portable(error)
    return None


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same where it could not be sent whole."""
    import pickle

    plain = error.with_traceback(None)
    plain.__cause__ = plain.__context__ = None
    try:
        pickle.loads(pickle.dumps(plain))
    except (
        Exception
    ):  # a class of somebody's that cannot be sent fails in ways of its own; its words go
        return RunError(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return plain
