import errno
import os
import signal
import subprocess
import sys

import psutil
import pytest
from waiting import finish, wait_until
from workers import MarkingWorkerFactory, importable_in_workers, job, processes_of

from mixopt.config.executors import ProcessesExecutorConfig
from mixopt.errors import UserError
from mixopt.executors.processes import open_executor


def environments(tmp_path, gpus=(), **fields):
    executor = open_executor(
        ProcessesExecutorConfig(**fields), MarkingWorkerFactory(), tmp_path, gpus
    )
    try:
        return executor._environments
    finally:
        executor.close()


def test_each_gpu_has_a_process_and_cores_are_shared(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    found = environments(tmp_path, ["0", "GPU-7"], threads=3)
    assert [each["CUDA_VISIBLE_DEVICES"] for each in found] == ["0", "GPU-7"]
    assert {each["OMP_NUM_THREADS"] for each in found} == {"3"}
    found = environments(tmp_path)
    assert [each["OMP_NUM_THREADS"] for each in found] == ["1"] * 6
    assert [each["OMP_NUM_THREADS"] for each in environments(tmp_path, ["0", "1"])] == ["3"] * 2
    assert len(environments(tmp_path, workers=5)) == 5


def test_cores_are_counted_where_there_is_no_affinity(tmp_path, monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert len(environments(tmp_path)) == 3


@pytest.mark.slow
def test_workers_of_a_killed_driver_end(tmp_path):
    """Workers of a driver that got SIGKILL end at once, though they are busy."""
    program = """
import sys
from pathlib import Path
from waiting import finish, wait_until
from workers import MarkingWorkerFactory, job
from mixopt.config.executors import ProcessesExecutorConfig
from mixopt.executors.processes import open_executor
folder = Path(sys.argv[1])
if __name__ == "__main__":
    config = ProcessesExecutorConfig(workers=2)
    executor = open_executor(config, MarkingWorkerFactory(), folder, [])
    futures = [executor.submit(job(folder, f"long {i}", "sleeps")) for i in range(2)]
    futures[0].result()
"""
    (tmp_path / "driver.py").write_text(program)
    with importable_in_workers():
        driver = subprocess.Popen([sys.executable, str(tmp_path / "driver.py"), str(tmp_path)])
    wait_until(lambda: all(processes_of(tmp_path, f"long {i}") for i in range(2)))
    workers = [pid for i in range(2) for pid in processes_of(tmp_path, f"long {i}")]
    driver.send_signal(signal.SIGKILL)
    driver.wait(300)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in workers))


@pytest.mark.slow
def test_closing_ends_busy_workers(tmp_path):
    with importable_in_workers():
        executor = open_executor(
            ProcessesExecutorConfig(workers=1), MarkingWorkerFactory(), tmp_path, []
        )
        future = executor.submit(job(tmp_path, "long", "sleeps"))
        wait_until(lambda: processes_of(tmp_path, "long"))
    (pid,) = processes_of(tmp_path, "long")
    assert pid != os.getpid()
    finish(lambda: executor.close() is None)
    assert not psutil.pid_exists(pid)
    assert future.exception() is not None


@pytest.mark.parametrize("error", [
    OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError(),
    RuntimeError("can't start new thread"),
])  # fmt: skip
def test_a_machine_that_cannot_start_a_process_is_an_error_of_one_sentence(
    tmp_path, monkeypatch, error
):
    def fail(*_):
        raise error

    monkeypatch.setattr("mixopt.executors.processes.ProcessPoolExecutor.submit", fail)
    executor = open_executor(
        ProcessesExecutorConfig(workers=1), MarkingWorkerFactory(), tmp_path, []
    )
    try:
        for _ in range(2):  # its slot is free again
            with pytest.raises(
                UserError, match=r"could not start a process for one .*executor.workers"
            ):
                executor.submit(job(tmp_path, "one")).result(60)
    finally:
        executor.close()
