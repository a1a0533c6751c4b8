import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from workers import HireMarker, job

from mixopt.config.executors import ProcessesExecutorConfig as Recipe
from mixopt.executors.processes import open_executor


def environments(recipe, tmp_path, cards=()):
    opened = open_executor(recipe, HireMarker(tmp_path), tmp_path, cards)
    try:
        return opened._environments
    finally:
        opened.close()


def test_each_gpu_has_a_process_and_cores_are_shared(tmp_path):
    told = environments(Recipe(threads=3), tmp_path, ["0", "GPU-7"])
    assert [each["CUDA_VISIBLE_DEVICES"] for each in told] == ["0", "GPU-7"]
    assert {each["OMP_NUM_THREADS"] for each in told} == {"3"}
    told = environments(Recipe(), tmp_path)
    assert len(told) == len(psutil.Process().cpu_affinity())
    assert {each["OMP_NUM_THREADS"] for each in told} == {"1"}
    assert len(environments(Recipe(workers=5), tmp_path)) == 5


@pytest.mark.slow
def test_nobody_outlives_a_study_that_is_killed(tmp_path):
    """Workers of a driver that got SIGKILL end at once, though they are busy."""
    program = f"""
import sys
sys.path.insert(0, {os.path.join(os.getcwd(), "tests")!r})
from pathlib import Path
from workers import HireMarker, job
from mixopt.config.executors import ProcessesExecutorConfig
from mixopt.executors.processes import open_executor
folder = Path({str(tmp_path)!r})
if __name__ == "__main__":
    opened = open_executor(ProcessesExecutorConfig(workers=2), HireMarker(folder), folder, [])
    futures = [opened.submit(job(f"long {{i}}", seconds=600)) for i in range(2)]
    futures[0].result()
"""
    (tmp_path / "driver.py").write_text(program)
    driver = subprocess.Popen([sys.executable, str(tmp_path / "driver.py")])
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("long*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    workers = [int(mark.read_text()) for mark in tmp_path.glob("long*")]
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    while any(psutil.pid_exists(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_closing_ends_what_is_busy(tmp_path):
    opened = open_executor(Recipe(workers=1), HireMarker(tmp_path), tmp_path, [])
    future = opened.submit(job("long", seconds=600))
    while not (tmp_path / "long").exists() or not (tmp_path / "long").read_text():
        time.sleep(0.1)
    pid = int((tmp_path / "long").read_text())
    opened.close()
    assert not psutil.pid_exists(pid)
    assert future.exception() is not None
