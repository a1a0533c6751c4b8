"""Execution of programs that models write, with their tests, in a restricted process.

The process has limits on time, memory, files and output, an empty environment and a temporary folder;
it may not write files, start processes or open connections. This stops accidents and common misuse,
but not an attacker who knows CPython's internals: run it on a machine without valuable data.
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""The program's environment; threads count against the limit on processes."""
_REACHED = 97
"""Exit code of a program that ran to its end; a program that exits earlier fails its tests."""
_RUNNER = f"""\
import os, posix, sys

def _guard(isinstance=isinstance, str=str, int=int, set=set, PermissionError=PermissionError,
           writing=os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND,
           refused=("os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.spawn", "os.system",
                    "os.kill", "os.killpg", "os.remove", "os.rename", "os.rmdir", "os.mkdir",
                    "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.utime",
                    "os.setxattr", "os.removexattr", "os.chflags", "os.lockf", "os.putenv", "shutil.",
                    "subprocess.", "socket.", "ctypes.", "pty.", "signal.pthread_kill")):
    def hook(event, args):
        if event.startswith(refused):
            raise PermissionError(event + " is not allowed in tests")
        if event == "open" and (
            isinstance(args[1], str) and set(args[1]) & {{"w", "a", "x", "+"}}
            or isinstance(args[2], int) and args[2] & writing
        ):
            raise PermissionError("writing is not allowed in tests")
    return hook

def _main(leave=os._exit):
    with open("program.py", encoding="utf-8") as stream:
        program = compile(stream.read(), "program.py", "exec")
    for module in (os, posix):  # these raise no audit event
        for name in ("mkfifo", "mknod"):
            if hasattr(module, name):
                delattr(module, name)
    sys.addaudithook(_guard())  # which cannot be taken out again from Python
    exec(program, {{"__name__": "__main__", "__builtins__": __builtins__}})
    leave({_REACHED})

_main()
"""


def passes_tests(program: str, *, timeout_s: float, memory_mb: int) -> bool:
    """Return whether `program`, which includes its tests, runs to its end without an error.

    The standard library is available; packages with compiled code (NumPy) are refused.

    Args:
        program: Python source.
        timeout_s: Limit of wall-clock and CPU time (seconds); then the process group is killed.
        memory_mb: Limit of the address space (MiB).

    Returns:
        False also for a program that exits before its end or runs out of time.
    """
    with tempfile.TemporaryDirectory(prefix="mixopt-tests-") as folder:
        runner = Path(folder) / "runner.py"
        runner.write_text(_RUNNER, encoding="utf-8")
        (Path(folder) / "program.py").write_text(program, encoding="utf-8", errors="replace")
        nowhere = subprocess.DEVNULL  # where endless output costs time only
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(runner)], stdin=nowhere, stdout=nowhere, stderr=nowhere,
            cwd=folder, env=_ENVIRONMENT, start_new_session=True,
            preexec_fn=lambda: _limit(timeout_s, memory_mb),
        )  # fmt: skip
        try:
            return process.wait(timeout=timeout_s) == _REACHED
        except subprocess.TimeoutExpired:
            return False
        finally:
            _kill(process)


def _limit(timeout_s: float, memory_mb: int) -> None:
    limits = {
        resource.RLIMIT_AS: memory_mb << 20, resource.RLIMIT_CPU: max(1, round(timeout_s + 0.5)),
        resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 64,
        # not enforced for root, for whom only the audit hook prevents forks
        resource.RLIMIT_NPROC: 0,
    }  # fmt: skip
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of its processes have ended
    finally:
        process.wait()
