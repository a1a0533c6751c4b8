"""Code tests: whether a program that a model wrote passes its tests, in a process of its own.

The process has limits on time, memory, files and output, an empty environment and a folder that is
thrown away; it may not write, start processes or open connections. This stops accidents and common
mischief, not an attacker who knows CPython's insides: run it where nothing is to be lost.
"""

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""All that a program sees; threads are processes to the limit on them."""
_REACHED = 97
"""Exit code of a program that ran to its end: one that leaves before its tests has not passed them."""
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
    for module in (os, posix):  # these tell no audit hook
        for name in ("mkfifo", "mknod"):
            if hasattr(module, name):
                delattr(module, name)
    sys.addaudithook(_guard())  # which cannot be taken out again from Python
    exec(program, {{"__name__": "__main__", "__builtins__": __builtins__}})
    leave({_REACHED})

_main()
"""


def passes_tests(program: str, *, timeout_s: float, memory_mb: int) -> bool:
    """Whether `program`, tests included, runs to its end without an error.

    It has the standard library; packages that load compiled code (NumPy) are refused.

    Args:
        program: Python source.
        timeout_s: Wall-clock and CPU time; what runs longer is killed with all it has started.
        memory_mb: Address space.
    """
    with tempfile.TemporaryDirectory(prefix="mixopt-tests-") as folder:
        runner = Path(folder) / "runner.py"
        runner.write_text(_RUNNER, encoding="utf-8")
        (Path(folder) / "program.py").write_text(program, encoding="utf-8", errors="replace")
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(runner)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # printing without end costs time alone
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=_ENVIRONMENT,
            start_new_session=True,
            preexec_fn=lambda: _limit(timeout_s, memory_mb),
        )
        try:
            return process.wait(timeout=timeout_s) == _REACHED
        except subprocess.TimeoutExpired:
            return False
        finally:
            _kill(process)


def _limit(timeout_s: float, memory_mb: int) -> None:
    """Limits of the process that is about to become the program."""
    memory = memory_mb << 20
    cpu = max(1, round(timeout_s + 0.5))
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 0),  # does not bind root, whom the guard alone keeps from forking
    ):
        resource.setrlimit(what, (most, most))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing of it is left
    finally:
        process.wait()
