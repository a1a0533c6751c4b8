"""The executor of one machine: a process for each GPU, or for each share of the cores."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from tqdm import tqdm

from mixopt.config.executors import ProcessesExecutorConfig
from mixopt.errors import UserError, one_line
from mixopt.executors.base import WorkerLostError, run_job
from mixopt.executors.job import Job, Outcome, Worker, WorkerFactory

SPAWN = multiprocessing.get_context("spawn")
"""A fork would copy CUDA contexts and locks."""
NOT_STARTED = (OSError, MemoryError, RuntimeError)
"""Raised where a limit of memory, processes or threads is reached; `RuntimeError` for a thread."""
_worker: Worker | None = None
"""The worker of this process, if it is one of a `ProcessesExecutor`."""


class ProcessesExecutor:
    """Processes of this machine; one that dies is replaced.

    Each slot is a pool of one process, so that a death costs one job and its slot is known.

    Args:
        make_worker: Makes a worker inside a process.
        environments: Environment variables of each process: its GPU, its threads.
    """

    prefers_large_jobs = False
    is_remote = False

    def __init__(
        self, make_worker: WorkerFactory, environments: Sequence[Mapping[str, str]]
    ) -> None:
        self._make_worker, self._environments = make_worker, environments
        self.slots = len(environments)
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._free_slots = deque(range(self.slots))
        self._waiting: deque[tuple[Job, Outcome]] = deque()
        self._lock = threading.RLock()
        self._is_closed = False
        self._broken_pools: list[ProcessPoolExecutor] = []
        # a worker exits at the end of this pipe: when we close our side, or are killed
        self._lifeline, self._lifeline_end = SPAWN.Pipe(duplex=False)

    def submit(self, job: Job) -> Outcome:
        future: Outcome = Future()
        with self._lock:
            self._waiting.append((job, future))
            self._start_waiting()
        return future

    def _start_waiting(self) -> None:
        while self._free_slots and self._waiting and not self._is_closed:
            slot = self._free_slots.popleft()
            job, future = self._waiting.popleft()
            try:
                running = self._start(slot, job)
            except NOT_STARTED as error:
                self._free_slots.append(slot)
                future.set_exception(
                    UserError(  # ends the study: the next job would fail too
                        f"This machine could not start a process for {job.name} ({one_line(error)}); "
                        "set a smaller executor.workers, or allow more memory and processes."
                    )
                )
                continue
            running.add_done_callback(partial(self._end_job, slot, job, future))

    def _start(self, slot: int, job: Job) -> Outcome:
        try:
            return self._pool(slot).submit(_run_in_process, self._make_worker, job)
        except BrokenProcessPool:  # its process died while idle
            self._broken_pools.append(self._pools.pop(slot))
            return self._pool(slot).submit(_run_in_process, self._make_worker, job)

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        if slot not in self._pools:
            arguments = dict(self._environments[slot]), self._lifeline
            self._pools[slot] = ProcessPoolExecutor(
                1, mp_context=SPAWN, initializer=_prepare_process, initargs=arguments
            )
        return self._pools[slot]

    def _end_job(self, slot: int, job: Job, future: Outcome, running: Outcome) -> None:
        if running.cancelled():
            with self._lock:
                self._free_slots.append(slot)
            future.cancel()
            return
        error = running.exception()
        with self._lock:
            if isinstance(error, BrokenProcessPool) and slot in self._pools:
                # this runs in a thread of the pool, which cannot shut the pool down
                self._broken_pools.append(self._pools.pop(slot))
            self._free_slots.append(slot)
            self._start_waiting()
        if error is None:
            future.set_result(running.result())
        else:
            future.set_exception(
                WorkerLostError(
                    f"The process that did {job.name} was killed or ran out of memory; run again."
                )
            )

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._waiting.clear()
            pools, self._pools = self._pools, {}
            is_idle = len(self._free_slots) == self.slots
        if not is_idle:
            self._lifeline_end.close()
        for pool in (*pools.values(), *self._broken_pools):
            pool.shutdown(wait=True, cancel_futures=True)
        self._lifeline_end.close()
        self._lifeline.close()


def open_executor(
    config: ProcessesExecutorConfig, make_worker: WorkerFactory, folder: Path, gpus: Sequence[str]
) -> ProcessesExecutor:
    """Open an executor with a process for each GPU, or for each share of the cores."""
    threads = config.threads or (None if gpus else 1)
    n_workers = config.workers or len(gpus) or max(1, _count_cores() // (threads or 1))
    if threads is None:
        threads = max(1, _count_cores() // n_workers)
    environments = []
    for slot in range(n_workers):
        environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
        environments.append(environment)
    return ProcessesExecutor(make_worker, environments)


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _prepare_process(environment: Mapping[str, str], lifeline: Connection) -> None:
    """Set a process up before torch is imported, and make it exit with the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver stops its workers
    os.environ.update(environment)
    os.environ["TQDM_DISABLE"] = "1"  # bars of many processes would write over each other
    tqdm.set_lock(threading.RLock())  # its default lock between processes is leaked at `os._exit`

    def exit_with_parent() -> None:
        with suppress(EOFError, OSError):
            lifeline.recv()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


def _run_in_process(make_worker: WorkerFactory, job: Job) -> Exception | None:
    def worker(job: Job) -> None:
        global _worker
        if _worker is None:
            _worker = make_worker()
        _worker(job)

    return run_job(worker, job)
