"""The executor of many machines: a Ray cluster.

Trainings are Ray tasks. Other jobs run on actors, which keep base and experts loaded between jobs. An
actor that dies is replaced when there is room; its job fails and the dispatcher tries it again.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray

from mixopt.config.executors import RayExecutorConfig
from mixopt.errors import UserError, one_line
from mixopt.executors.base import WorkerLostError, run_job
from mixopt.executors.job import Job, Outcome, Worker, WorkerFactory

ADDRESS = "RAY_ADDRESS"
"""Environment variable with the address of the cluster, which Ray itself reads too."""


class _Actor:
    def __init__(self, make_worker: WorkerFactory) -> None:
        self._make_worker = make_worker
        self._worker: Worker | None = None

    def wait_until_placed(self) -> None:
        """Return once the actor runs."""

    def run(self, job: Job) -> Exception | None:
        return run_job(self._run, job)

    def _run(self, job: Job) -> None:
        if self._worker is None:
            self._worker = self._make_worker()
        self._worker(job)


def _run_task(make_worker: WorkerFactory, job: Job) -> Exception | None:
    return run_job(lambda job: make_worker()(job), job)


class RayExecutor:
    """Tasks and actors of a Ray cluster.

    Args:
        make_worker: Makes a worker inside a Ray process.
        slots: Number of workers.
        resources: What each worker needs: `num_cpus` and `num_gpus`.
        owns_cluster: Whether this process started the cluster and ends it.
    """

    prefers_large_jobs = False
    is_remote = True

    def __init__(
        self,
        make_worker: WorkerFactory,
        slots: int,
        resources: dict[str, float],
        *,
        owns_cluster: bool,
    ) -> None:
        self.slots = slots
        self._owns_cluster = owns_cluster
        self._make_worker = ray.put(make_worker)
        environment = {"env_vars": {"OMP_NUM_THREADS": str(int(resources["num_cpus"]))}}
        options = {**resources, "scheduling_strategy": "SPREAD", "runtime_env": environment}
        # retries are counted by the dispatcher
        self._task = ray.remote(_run_task).options(max_retries=0, **options)
        self._actor_class = ray.remote(_Actor).options(max_restarts=0, **options)
        self._actors: list[Any] = []
        self._free_actors: deque[Any] = deque()
        self._busy_actors: list[Any] = []
        self._trainings: list[Any] = []
        self._waiting: deque[tuple[Job, Outcome]] = deque()
        self._lock = threading.RLock()
        self._is_closed = False
        # Ray calls back in the thread that also does what `ray.kill` waits for, so that a callback that
        # waited for the lock of a thread in `ray.kill` would never get it: a thread of ours handles them
        self._events: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._events_thread = threading.Thread(
            target=self._handle_events, name="ray-executor", daemon=True
        )
        self._events_thread.start()

    def _handle_events(self) -> None:
        while (event := self._events.get()) is not None:
            event()

    def _call_when_done(self, reference: Any, callback: Callable[[Outcome], None]) -> None:
        future: Outcome = reference.future()
        future.add_done_callback(lambda done: self._events.put(partial(callback, done)))

    def submit(self, job: Job) -> Outcome:
        future: Outcome = Future()
        if job.trains:
            with self._lock:
                self._end_idle_actors()  # they hold the devices that the training needs
                training = self._task.remote(self._make_worker, job)
                self._trainings.append(training)
            self._follow(training, job, future)
            return future
        with self._lock:
            self._waiting.append((job, future))
            while len(self._actors) < min(self.slots, len(self._busy_actors) + len(self._waiting)):
                self._start_actor()
            self._start_waiting()
        return future

    def _start_actor(self) -> None:
        actor = self._actor_class.remote(self._make_worker)
        self._actors.append(actor)

        def on_placed(placed: Outcome) -> None:
            error = placed.exception()
            with self._lock:
                if self._is_closed or actor not in self._actors:
                    return  # ended while it waited for a place
                if error is None:
                    self._free_actors.append(actor)
                    self._start_waiting()
                    return
                # a job fails with it, so that actors that can never start are not started for ever
                lost = self._waiting.popleft() if self._waiting else None
                self._replace(actor)
            if lost is not None:
                job, future = lost
                future.set_exception(_worker_lost(job, error))

        self._call_when_done(actor.wait_until_placed.remote(), on_placed)

    def _start_waiting(self) -> None:
        while self._free_actors and self._waiting and not self._is_closed:
            actor = self._free_actors.popleft()
            job, future = self._waiting.popleft()
            self._busy_actors.append(actor)
            self._follow(actor.run.remote(job), job, future, actor)

    def _replace(self, actor: Any) -> None:
        if actor in self._actors:
            self._actors.remove(actor)  # Ray ends an actor without references
        if self._waiting and len(self._actors) < self.slots:
            self._start_actor()

    def _follow(self, reference: Any, job: Job, future: Outcome, actor: Any = None) -> None:
        def on_done(done: Outcome) -> None:
            error = done.exception()
            if actor is not None:
                with self._lock:
                    self._busy_actors.remove(actor)
                    if error is not None:
                        self._replace(actor)
                    elif actor in self._actors:
                        self._free_actors.append(actor)
                    self._start_waiting()
            else:
                with self._lock:
                    self._trainings.remove(reference)
            if error is None:
                future.set_result(done.result())
            else:
                future.set_exception(_worker_lost(job, error))

        self._call_when_done(reference, on_done)

    def _end_idle_actors(self) -> None:
        """End all actors that are not busy; those that wait for a place would take it first."""
        for actor in [actor for actor in self._actors if actor not in self._busy_actors]:
            self._actors.remove(actor)
            ray.kill(actor)
        self._free_actors.clear()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            actors, self._actors = self._actors, []
            trainings = list(self._trainings)
        for actor in actors:
            ray.kill(actor)
        for training in trainings:  # of a cluster that goes on they would train to their end
            ray.cancel(training, force=True)
        self._events.put(None)
        self._events_thread.join()
        if self._owns_cluster:
            ray.shutdown()


def _worker_lost(job: Job, error: BaseException) -> WorkerLostError:
    reason = type(error).__name__ + (f": {one_line(error)}" if str(error).strip() else "")
    return WorkerLostError(f"The Ray worker of {job.name} was lost ({reason}).")


def open_executor(
    config: RayExecutorConfig, make_worker: WorkerFactory, folder: Path, gpus: Sequence[str]
) -> RayExecutor:
    """Open an executor on the cluster that RAY_ADDRESS names, or on a new one on this machine.

    Raises:
        UserError: No cluster answers, or no node has the resources of a worker.
    """
    owns_cluster = not ray.is_initialized()
    if owns_cluster:
        address = os.environ.get(ADDRESS)
        options = {"include_dashboard": False} if address is None else {}
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"No Ray cluster answers at {address or 'this machine'} ({one_line(error)}); fix "
                f"{ADDRESS}."
            ) from None
    resources = {"num_cpus": float(config.cpus), "num_gpus": config.gpus}
    room = _count_places(resources)
    if not room:
        raise UserError(
            f"No node of the Ray cluster has {config.cpus} cores and {config.gpus:g} GPUs free; fix "
            "executor.cpus or executor.gpus."
        )
    return RayExecutor(make_worker, config.workers or room, resources, owns_cluster=owns_cluster)


def _count_places(resources: dict[str, float]) -> int:
    places = 0
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        available = node["Resources"]
        counts = [int(available.get("CPU", 0) // resources["num_cpus"])]
        if resources["num_gpus"]:
            counts.append(int(available.get("GPU", 0) / resources["num_gpus"]))
        places += min(counts)
    return places
