"""The executor of one machine: a process for each GPU, or for each share of the cores."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from tqdm import tqdm

from mixopt.config.executors import ProcessesExecutorConfig as Recipe
from mixopt.executors.base import WorkerLostError, attempt
from mixopt.executors.job import Job, Worker, WorkerFactory

_SPAWN = multiprocessing.get_context("spawn")
"""A fork would copy CUDA and locks."""
_hired: Worker | None = None
"""The worker of this process."""


class ProcessesExecutorConfig:
    """Processes that do jobs; one that dies is replaced.

    Each slot is a pool of one process, so that a death costs one job and names its slot.

    Args:
        hire: Makes a worker inside a process.
        environments: What each process finds in its environment: its GPU, its threads.
    """

    coarse = False
    remote = False

    def __init__(self, hire: WorkerFactory, environments: Sequence[Mapping[str, str]]) -> None:
        self._hire, self._environments = hire, environments
        self.slots = len(environments)
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._free = deque(range(self.slots))
        self._waiting: deque[tuple[Job, Future[Exception | None]]] = deque()
        self._lock = threading.RLock()
        self._closed = False
        self._broken: list[ProcessPoolExecutor] = []
        # a process ends when nobody holds the other end any more: closed, or killed
        self._leash, self._held = _SPAWN.Pipe(duplex=False)

    def submit(self, job: Job) -> "Future[Exception | None]":
        """Done by the first process that is free."""
        promised: Future[Exception | None] = Future()
        with self._lock:
            self._waiting.append((job, promised))
            self._start()
        return promised

    def _start(self) -> None:
        """Gives waiting jobs to free slots."""
        while self._free and self._waiting and not self._closed:
            slot = self._free.popleft()
            job, promised = self._waiting.popleft()
            try:
                running = self._pool(slot).submit(_work, self._hire, job)
            except BrokenProcessPool:  # it died idle
                self._broken.append(self._pools.pop(slot))
                running = self._pool(slot).submit(_work, self._hire, job)
            running.add_done_callback(partial(self._end, slot, job, promised))

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        if slot not in self._pools:
            self._pools[slot] = ProcessPoolExecutor(
                1,
                mp_context=_SPAWN,
                initializer=_begin,
                initargs=(dict(self._environments[slot]), self._leash),
            )
        return self._pools[slot]

    def _end(
        self,
        slot: int,
        job: Job,
        promised: "Future[Exception | None]",
        over: "Future[Exception | None]",
    ) -> None:
        error = None if over.cancelled() else over.exception()
        with self._lock:
            if isinstance(error, BrokenProcessPool) and slot in self._pools:
                # this runs inside the pool, which may not be shut down from there
                self._broken.append(self._pools.pop(slot))
            self._free.append(slot)
            if not over.cancelled():
                self._start()
        if over.cancelled():
            promised.cancel()
        elif error is None:
            promised.set_result(over.result())
        else:
            promised.set_exception(
                WorkerLostError(
                    f"The process that did {job.name} was killed or ran out of memory; run again."
                )
            )

    def close(self) -> None:
        """Ends all processes."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            pools, self._pools = self._pools, {}
            idle = len(self._free) == self.slots
        if not idle:
            self._held.close()
        for pool in (*pools.values(), *self._broken):
            pool.shutdown(wait=True, cancel_futures=True)
        self._held.close()
        self._leash.close()


def open_executor(
    recipe: Recipe, hire: WorkerFactory, folder: Path, cards: Sequence[str]
) -> ProcessesExecutorConfig:
    """A process for each of the GPUs `cards`, or for each share of the cores."""
    threads = recipe.threads or (None if cards else 1)
    workers = recipe.workers or len(cards) or max(1, _cores() // (threads or 1))
    if threads is None:
        threads = max(1, _cores() // workers)
    environments = []
    for slot in range(workers):
        environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        if cards:
            environment["CUDA_VISIBLE_DEVICES"] = cards[slot % len(cards)]
        environments.append(environment)
    return ProcessesExecutorConfig(hire, environments)


def _cores() -> int:
    return len(psutil.Process().cpu_affinity() or [0])


def _begin(environment: Mapping[str, str], leash: Connection) -> None:
    """Prepares a process before torch is loaded, and ends it with the one that started it."""
    os.environ.update(environment)
    os.environ["TQDM_DISABLE"] = "1"  # bars of many processes would write over each other
    tqdm.set_lock(threading.RLock())  # its own between processes would outlive a sudden end

    def follow() -> None:
        with suppress(EOFError, OSError):
            leash.recv()
        os._exit(1)  # a study that was killed leaves nobody behind; what is finished is kept

    threading.Thread(target=follow, daemon=True).start()


def _work(hire: WorkerFactory, job: Job) -> Exception | None:
    def worker(job: Job) -> None:
        global _hired
        if _hired is None:
            _hired = hire()
        _hired(job)

    return attempt(worker, job)
