"""Execution of programs that models write, with their tests, in a restricted process.

Where the system allows it, the process has namespaces of its own (bubblewrap, or `unshare` of
util-linux): no network, no other processes, every file read-only, the home and temporary folders
empty. In any case it has limits on time, memory, files and output, an empty environment, and a hook in
Python that refuses what tests never need. The hook alone stops accidents and common misuse, but not a
program that attacks it, so that root needs the namespaces.

A program has passed if it writes a token, drawn for it, to a pipe after its last statement; an exit
code says nothing. Program and tests share a process: a program that is written against this very
runner can find the token. Nothing here judges whether a program is honest.
"""

import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mixopt.errors import UserError
from mixopt.evaluation.tasks import program_runner

log = logging.getLogger(__name__)

_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""The program's environment; threads count against the limit on processes."""
PRIVATE = ("/home", "/root", "/tmp", "/var/tmp", "/run", "/sys", "/proc", "/mnt", "/media", "/srv",
           "/dev/shm")  # fmt: skip
"""Folders that a program finds empty, unless Python itself is in them."""
PROBE_TIMEOUT_S = 60.0
REMEDY = (
    "install bubblewrap, allow user namespaces (kernel.unprivileged_userns_clone=1), or run as a user "
    "without privileges"
)


@dataclass(frozen=True)
class Sandbox:
    """Namespaces in which a program runs.

    Attributes:
        name: Of the tool.
        command: Returns the words between the tool and the interpreter, given the program's folder.
        confines: Whether the runner itself makes the files read-only.
    """

    name: str
    command: Callable[[str], list[str]]
    confines: bool = False


def passes_tests(program: str, *, timeout_s: float, memory_mb: int) -> bool:
    """Return whether `program`, which includes its tests, runs to its end without an error.

    The standard library is available; packages with compiled code (NumPy) are refused.

    Args:
        program: Python source.
        timeout_s: Limit of wall-clock and CPU time (seconds); then all of its processes are killed.
        memory_mb: Limit of the address space (MiB).

    Returns:
        False also for a program that exits before its end or runs out of time.

    Raises:
        UserError: This process is root's, and the system offers no sandbox.
    """
    return _run(find_sandbox(), program, timeout_s, memory_mb)


@cache
def find_sandbox() -> Sandbox | None:
    """Return the first sandbox that works here; None without one, with a warning.

    Raises:
        UserError: There is none, and this process is root's.
    """
    for sandbox in SANDBOXES:
        if shutil.which(sandbox.name) and _run(sandbox, "pass", PROBE_TIMEOUT_S, 512):
            return sandbox
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        raise UserError(f"Programs of models are not run as root without a sandbox; {REMEDY}.")
    log.warning(
        "There is no sandbox here for programs that models write; a guard in Python stops accidents "
        "only: %s.", REMEDY,
    )  # fmt: skip
    return None


def _run(sandbox: Sandbox | None, program: str, timeout_s: float, memory_mb: int) -> bool:
    # a link in its path would be outside of what the sandbox shows
    with tempfile.TemporaryDirectory(prefix="mixopt-tests-") as name:
        folder = os.path.realpath(name)
        runner = shutil.copy(program_runner.__file__, Path(folder) / "runner.py")
        (Path(folder) / "program.py").write_text(program, encoding="utf-8", errors="replace")
        token = secrets.token_hex(16).encode()
        reading, writing = os.pipe()
        try:
            options = {
                program_runner.CONFINED: sandbox is not None and sandbox.confines,
                "hidden": hidden_folders(), "result": writing,
                "seconds": max(1, round(timeout_s + 0.5)), "memory": memory_mb << 20,
            }  # fmt: skip
            before = [] if sandbox is None else [_find(sandbox.name), *sandbox.command(folder)]
            nowhere = subprocess.DEVNULL  # where endless output costs time only
            process = subprocess.Popen(
                [*before, sys.executable, "-I", "-B", str(runner), json.dumps(options)],
                stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, cwd=folder, env=_ENVIRONMENT,
                start_new_session=True, pass_fds=(writing,),
            )  # fmt: skip
            try:
                process.communicate(token, timeout=timeout_s)
            except subprocess.TimeoutExpired:
                return False
            finally:
                _kill(process)
            os.set_blocking(reading, False)
            with suppress(BlockingIOError):
                return os.read(reading, len(token) + 1) == token
            return False
        finally:
            os.close(reading)
            os.close(writing)


def _find(tool: str) -> str:
    return shutil.which(tool) or tool  # the program's environment has no PATH


def hidden_folders() -> list[str]:
    """Return the private folders of this machine in which Python is not."""
    python = os.path.dirname(sys.executable), os.path.dirname(os.path.realpath(sys.executable))
    needed = {*python, sys.prefix, sys.base_prefix, sys.exec_prefix, sysconfig.get_path("stdlib")}
    places = {os.path.realpath(place) for place in needed}
    candidates = dict.fromkeys((*PRIVATE, str(Path.home())))
    return [
        folder
        for folder in candidates
        if os.path.isdir(folder)
        and os.path.realpath(folder) == folder != "/"
        and not any(Path(place).is_relative_to(folder) for place in places)
    ]


def _bubblewrap(folder: str) -> list[str]:
    # with /proc empty a program cannot read the environment of others
    hidden = hidden_folders()
    empty = [word for place in hidden for word in ("--tmpfs", place)]
    closed = [word for place in ("/dev", *hidden) for word in ("--remount-ro", place)]
    return [
        "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
        "--ro-bind", "/", "/", "--dev", "/dev", *empty, "--ro-bind", folder, folder, *closed,
        "--chdir", folder, "--",
    ]  # fmt: skip


def _unshare(folder: str) -> list[str]:
    return [
        "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--net",
        "--ipc", "--uts", "--",
    ]  # fmt: skip


SANDBOXES = (Sandbox("bwrap", _bubblewrap), Sandbox("unshare", _unshare, confines=True))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of its processes have ended
    finally:
        process.wait()
