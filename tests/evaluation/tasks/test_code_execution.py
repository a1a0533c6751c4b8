import os
import shutil
import socket
from pathlib import Path

import psutil
import pytest
from waiting import finish, wait_until

from mixopt.errors import UserError
from mixopt.evaluation.tasks import code_execution
from mixopt.evaluation.tasks.code_execution import SANDBOXES, _run, find_sandbox, passes_tests

find_sandbox()  # so that no test pays for the probe, nor fails by its time


def passes(program, timeout_s=60.0):
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


@pytest.mark.parametrize("program", [
    "import os; os._exit(97)",
    "import os; os._exit(0)",
    "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'x' * 32)\n    except OSError: pass\n"
    "os._exit(0)",
])  # fmt: skip
def test_an_exit_code_or_a_guess_is_no_pass(program):
    assert not passes(program)


@pytest.mark.parametrize("program", [
    "import signal; signal.pidfd_send_signal",
    "import os; os.pidfd_open(os.getppid())",
    "import readline",
    "import gc\nfor one in gc.get_objects(): pass",
    "import sys; sys._current_frames()",
    "import os; open(f'/proc/{os.getppid()}/environ').read()",
    "import os; open(b'/proc/self/environ').read()",
    "import _posixsubprocess as p\np.fork_exec([b'/bin/true'], [b'/bin/true'], True, (), None, None, -1,"
    " -1, -1, -1, -1, -1, -1, -1, False, False, 0, None, None, None, -1, None, False)",
])  # fmt: skip
def test_short_ways_around_the_guard(program):
    for sandbox in (None, find_sandbox()):
        assert not _run(sandbox, program, 60.0, 256), sandbox


def test_innocent_modules_can_be_imported():
    assert passes("import subprocess, gc, cmd, threading, logging, typing, dataclasses, random")


def unguarded(sandbox, program, monkeypatch, tmp_path):
    """Run a program that has left the guard, as every determined one can."""
    runner = tmp_path / "open_runner.py"
    text = Path(code_execution.program_runner.__file__).read_text()
    runner.write_text(text.replace("    guard()\n    exec", "    exec"))
    monkeypatch.setattr(code_execution.program_runner, "__file__", str(runner))
    return _run(sandbox, program, 60.0, 256)


@pytest.fixture(params=SANDBOXES, ids=lambda sandbox: sandbox.name)
def sandbox(request):
    if not shutil.which(request.param.name) or not _run(request.param, "pass", 60.0, 512):
        pytest.skip("this machine does not offer it")
    return request.param


def test_a_sandbox_holds_without_the_guard(sandbox, monkeypatch, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    here = str(Path(__file__).parent)
    program = f"""
import os, socket
for place in ({str(victim)!r}, {here + "/new"!r}, "/etc/new", "/tmp/new"):
    try:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT))
        raise SystemExit("written: " + place)
    except OSError:
        pass
assert not os.path.exists({str(victim)!r})
assert not os.path.exists(f"/proc/{{os.getppid()}}/environ")
try:
    os.kill({os.getpid()}, 0)
    raise SystemExit("another process is seen")
except ProcessLookupError:
    pass
try:
    socket.create_connection(("127.0.0.1", {{port}}), 5)
    raise SystemExit("connected")
except OSError:
    pass
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = program.replace("{port}", str(server.getsockname()[1]))
        assert unguarded(sandbox, program, monkeypatch, tmp_path)
    assert victim.read_text() == "mine"
    assert not Path(here, "new").exists()


def test_processes_of_a_program_end_with_it(sandbox, monkeypatch, tmp_path):
    """Root may start some, whatever the limit; they are in the namespace that ends."""
    program = "import os\nif os.fork() == 0:\n    os.setsid()\n    while True: pass\n"
    mark = f"mixopt-mark-{os.getpid()}-{sandbox.name}"
    unguarded(sandbox, f"# {mark}\n{program}", monkeypatch, tmp_path)
    wait_until(lambda: not [
        p for p in psutil.process_iter(["cmdline"]) if "runner.py" in " ".join(p.info["cmdline"] or [])
        and p.ppid() == os.getpid()
    ])  # fmt: skip


def test_root_without_a_sandbox_runs_nothing(monkeypatch):
    find_sandbox.cache_clear()
    monkeypatch.setattr(code_execution, "SANDBOXES", ())
    monkeypatch.setattr("os.geteuid", lambda: 0)
    try:
        with pytest.raises(
            UserError, match="not run as root without a sandbox; install bubblewrap"
        ):
            passes("pass")
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        assert passes("pass")
    finally:
        find_sandbox.cache_clear()
