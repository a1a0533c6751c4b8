"""The executor of many machines: a Ray cluster.

Trainings are tasks; scoring is done by actors that hold base and experts. Whoever dies is replaced when
there is room; the job is given back to the dispatcher, which has it tried again.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from mixopt.config.executors import RayExecutorConfig as Recipe
from mixopt.errors import MissingExtraError, UserError
from mixopt.executors.base import WorkerLostError, attempt
from mixopt.executors.job import Job, Worker, WorkerFactory

try:
    import ray
except ImportError:
    raise MissingExtraError(
        "`executor: ray` needs Ray; install it: pip install 'mixopt[ray]'"
    ) from None

ADDRESS = "RAY_ADDRESS"
"""Where the cluster is; Ray itself reads it too."""


class _Actor:
    """A worker that stays: what it has loaded is there for its next job."""

    def __init__(self, hire: WorkerFactory) -> None:
        self._hire = hire
        self._worker: Worker | None = None

    def greet(self) -> None:
        """Says that it has a place."""

    def work(self, job: Job) -> Exception | None:
        """What the job failed of."""
        return attempt(self._do, job)

    def _do(self, job: Job) -> None:
        if self._worker is None:
            self._worker = self._hire()
        self._worker(job)


def _train(hire: WorkerFactory, job: Job) -> Exception | None:
    """What a job failed of that is done by itself."""
    return attempt(lambda asked: hire()(asked), job)


class RayExecutorConfig:
    """Tasks and actors of a Ray cluster.

    Args:
        hire: Makes a worker inside a Ray process.
        slots: Workers.
        needs: What each needs: `num_cpus`, `num_gpus`.
        own: Whether this process started the cluster, and ends it.
    """

    coarse = False
    remote = True

    def __init__(
        self, hire: WorkerFactory, slots: int, needs: dict[str, float], *, own: bool
    ) -> None:
        self.slots = slots
        self._own = own
        self._sent = ray.put(hire)
        environment = {"env_vars": {"OMP_NUM_THREADS": str(int(needs["num_cpus"]))}}
        # the dispatcher tries again, and counts
        self._task = ray.remote(_train).options(
            **needs, max_retries=0, scheduling_strategy="SPREAD", runtime_env=environment
        )
        self._kind = ray.remote(_Actor).options(
            **needs, max_restarts=0, scheduling_strategy="SPREAD", runtime_env=environment
        )
        self._actors: list[Any] = []
        self._free: deque[Any] = deque()
        self._waiting: deque[tuple[Job, Future[Exception | None]]] = deque()
        self._working: list[Any] = []
        self._lock = threading.RLock()
        self._closed = False

    def submit(self, job: Job) -> "Future[Exception | None]":
        """Done by the next free actor, or as a task of its own."""
        promised: Future[Exception | None] = Future()
        if job.trains:
            with self._lock:
                self._let_go_of_idle()  # they hold the devices that it needs
            self._follow(self._task.remote(self._sent, job), job, promised, lambda: None)
            return promised
        with self._lock:
            self._waiting.append((job, promised))
            while len(self._actors) < min(self.slots, len(self._working) + len(self._waiting)):
                self._hire_actor()
            self._start()
        return promised

    def _hire_actor(self) -> None:
        """Asks for an actor; it gets work once it has a place."""
        actor = self._kind.remote(self._sent)
        self._actors.append(actor)

        def placed(greeting: "Future[None]") -> None:
            error = greeting.exception()
            with self._lock:
                if self._closed or actor not in self._actors:
                    return  # let go of while it waited for a place
                if error is None:
                    self._free.append(actor)
                    self._start()
                    return
                # who waits loses a try with it, so that workers that never begin come to an end
                lost = self._waiting.popleft() if self._waiting else None
                self._replace(actor)
            if lost is not None:
                lost[1].set_exception(_lose(lost[0], error))

        actor.greet.remote().future().add_done_callback(placed)

    def _start(self) -> None:
        while self._free and self._waiting and not self._closed:
            actor = self._free.popleft()
            job, promised = self._waiting.popleft()
            self._working.append(actor)
            self._follow(actor.work.remote(job), job, promised, partial(self._freed, actor))

    def _freed(self, actor: Any) -> None:
        self._working.remove(actor)
        if actor in self._actors:
            self._free.append(actor)
        self._start()

    def _replace(self, actor: Any) -> None:
        """Another actor for one that died, or cannot be reached."""
        if actor in self._actors:
            self._actors.remove(actor)  # Ray ends an actor that nobody refers to any more
        if self._waiting and len(self._actors) < self.slots:
            self._hire_actor()

    def _follow(
        self,
        reference: Any,
        job: Job,
        promised: "Future[Exception | None]",
        done: Callable[[], None],
    ) -> None:
        def over(answer: "Future[Exception | None]") -> None:
            error = answer.exception()
            with self._lock:
                if error is None:
                    done()
                elif isinstance(done, partial):  # an actor, which is gone
                    self._working.remove(done.args[0])
                    self._replace(done.args[0])
            if error is None:
                promised.set_result(answer.result())
            else:
                promised.set_exception(_lose(job, error))

        reference.future().add_done_callback(over)

    def _let_go_of_idle(self) -> None:
        """Ends all actors but the busy ones: those that wait for a place would take the next too."""
        for actor in [actor for actor in self._actors if actor not in self._working]:
            self._actors.remove(actor)
            ray.kill(actor)
        self._free.clear()

    def close(self) -> None:
        """Lets all actors go, and ends the cluster where this process began it."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            actors, self._actors = self._actors, []
        for actor in actors:
            ray.kill(actor)
        if self._own:
            ray.shutdown()


def _lose(job: Job, error: BaseException) -> WorkerLostError:
    told = " ".join(str(error).split())[:200]
    return WorkerLostError(
        f"The Ray worker of {job.name} was lost ({type(error).__name__}{': ' if told else ''}{told})."
    )


def open_executor(
    recipe: Recipe, hire: WorkerFactory, folder: Path, cards: Sequence[str]
) -> RayExecutorConfig:
    """Workers of the cluster that RAY_ADDRESS names, or of one on this machine.

    Raises:
        UserError: There is no cluster there, or it has not one place for a worker.
    """
    own = not ray.is_initialized()
    if own:
        address = os.environ.get(ADDRESS)
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                include_dashboard=False,
                configure_logging=False,
            ) if address is None else ray.init(
                address=address, log_to_driver=False, configure_logging=False
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            told = " ".join(str(error).split())[:200]
            raise UserError(
                f"No Ray cluster answers at {address or 'this machine'} ({told}); mend {ADDRESS}."
            ) from None
    needs = {"num_cpus": float(recipe.cpus), "num_gpus": recipe.gpus}
    room = _count_places(needs)
    if not room:
        raise UserError(
            f"No node of the Ray cluster has {recipe.cpus} cores and {recipe.gpus:g} GPUs free; mend "
            "executor.cpus or executor.gpus."
        )
    return RayExecutorConfig(hire, recipe.workers or room, needs, own=own)


def _count_places(needs: dict[str, float]) -> int:
    """Workers that the cluster's nodes have room for."""
    places = 0
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        has = node["Resources"]
        counts = [int(has.get("CPU", 0) // needs["num_cpus"])]
        if needs["num_gpus"]:
            counts.append(int(has.get("GPU", 0) / needs["num_gpus"]))
        places += min(counts)
    return places
