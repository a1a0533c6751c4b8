import pytest
from waiting import finish

from mixopt.evaluation.tasks.code_execution import passes_tests


def passes(program, timeout_s=5.0):
    return passes_tests(program, timeout_s=timeout_s, memory_mb=256)


def test_a_program_that_meets_its_tests_passes():
    assert passes("import math, re, json, collections\nassert 1 + 1 == 2")
    assert not passes("assert 1 + 1 == 3")
    assert not passes("this is no python")


@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.exit(0)\nassert False",
        "import os; os._exit(0)\nassert False",
        "raise SystemExit\nassert False",
    ],
)
def test_leaving_before_the_tests_is_no_pass(program):
    assert not passes(program)


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "while True: print('a' * 1000)",
        "import time; time.sleep(3600)",
        "try:\n    while True: pass\nexcept BaseException:\n    while True: pass",
    ],
)
def test_what_never_ends_is_stopped(program):
    assert not finish(lambda: passes(program, timeout_s=0.5))


@pytest.mark.parametrize(
    "program",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import multiprocessing as m\np = m.Process(target=print); p.start(); p.join()",
        "import socket; socket.socket()",
        "import ctypes",
        "x = bytearray(10 ** 9)",
        "x = []\nwhile True: x.append('a' * 10 ** 6)",
        "import os; os.kill(os.getppid(), 9)",
    ],
)
def test_processes_connections_and_memory_without_end_are_refused(program):
    assert not passes(program)


def test_nothing_is_written(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("mine")
    for program in (
        f"open({str(tmp_path / 'new')!r}, 'w').write('a')",
        f"import os; os.close(os.open({str(tmp_path / 'new')!r}, os.O_CREAT | os.O_RDONLY))",
        f"import os; os.remove({str(kept)!r})",
        f"import pathlib; pathlib.Path({str(kept)!r}).write_text('theirs')",
        f"import shutil; shutil.rmtree({str(tmp_path)!r})",
        f"import os; os.rename({str(kept)!r}, {str(tmp_path / 'new')!r})",
        f"import os; os.truncate({str(kept)!r}, 0)",
    ):
        assert not passes(program), program
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert kept.read_text() == "mine"


def test_the_environment_is_empty(monkeypatch):
    monkeypatch.setenv("MY_SECRET", "x")
    assert passes("import os\nassert 'MY_SECRET' not in os.environ and 'HOME' not in os.environ")


@pytest.mark.parametrize(
    "program",
    [
        "from __future__ import annotations\nassert True",
        "str = 'abc'\nimport json\nassert json.dumps(1) == '1'",
        "def set(*a): raise ValueError\nimport textwrap",
        "assert __name__ == '__main__'",
    ],
)
def test_a_programs_own_names_do_not_disturb_the_guard(program):
    assert passes(program)


def test_the_guard_cannot_be_blinded_by_names(tmp_path):
    new = str(tmp_path / "new")
    for program in (
        f"isinstance = lambda *a: False\nopen({new!r}, 'w')",
        f"import os\nos.mkfifo({new!r})",
        f"import posix\nposix.mkfifo({new!r})",
        "import os\nos.utime('/tmp')",
    ):
        assert not passes(program), program
    assert not list(tmp_path.iterdir())
