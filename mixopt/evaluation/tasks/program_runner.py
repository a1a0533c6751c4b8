"""Runs one program and says so if it reaches its end; a script of its own, copied beside the program.

It is started by `code_execution`, imports nothing of mixopt, and may be inside namespaces of its own, in
which it then makes every file read-only, hides folders, and gives up all capabilities.
"""

import json
import os
import resource
import sys
from typing import Any

CONFINED = "confine"
"""Field of the options: whether to make files read-only, which needs a mount namespace of its own."""
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_SETATTR = 442
"""Number of the system call on all machines; Linux 5.12."""
READ_ONLY, NO_SUID = 1, 2
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CAPABILITY_VERSION = 0x20080522
N_CAPABILITIES = 64


def confine(hidden: list[str]) -> None:
    """Make all files read-only, empty the `hidden` folders, and give up all capabilities.

    Raises:
        OSError: The system does not allow it.
    """
    import ctypes

    system = ctypes.CDLL(None, use_errno=True)

    class Attributes(ctypes.Structure):
        _fields_ = [
            (name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace")
        ]

    def call(result: int) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    for folder in hidden:
        call(system.mount(b"none", folder.encode(), b"tmpfs", 0, None))
    wanted = Attributes(READ_ONLY | NO_SUID, 0, 0, 0)
    size = ctypes.sizeof(wanted)
    call(system.syscall(MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, ctypes.byref(wanted), size))
    os.chdir("/")
    for capability in range(N_CAPABILITIES):  # of another kernel some do not exist
        system.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    call(system.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header, none = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    call(system.capset(header, none))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ctypes", "_ctypes")]:
        del sys.modules[name]  # the guard refuses to import it again


def limit(seconds: int, memory_bytes: int) -> None:
    """Limit this process's time, memory, files and processes; root may start processes nevertheless."""
    limits = {
        resource.RLIMIT_AS: memory_bytes, resource.RLIMIT_CPU: seconds, resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 64, resource.RLIMIT_NPROC: 0,
    }  # fmt: skip
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))


def guard() -> None:
    """Refuse what a test never needs, as far as Python itself can; it cannot be taken out again."""
    import _posixsubprocess
    import posix
    import signal

    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    refused = (
        "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.spawn", "os.system", "os.kill",
        "os.killpg", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
        "os.chmod", "os.chown", "os.truncate", "os.utime", "os.setxattr", "os.removexattr",
        "os.chflags", "os.lockf", "os.putenv", "shutil.", "subprocess.", "socket.", "ctypes.", "pty.",
        "signal.pthread_kill", "gc.get_", "sys._current_frames", "sys.addaudithook",
    )  # fmt: skip

    # what the hook uses stands in its defaults, where a program's own names do not reach it
    def hook(event: str, args: tuple[Any, ...], isinstance: Any = isinstance, str: Any = str,
             bytes: Any = bytes, int: Any = int, set: Any = set, any: Any = any,
             PermissionError: Any = PermissionError, ImportError: Any = ImportError) -> None:  # noqa: N803  # fmt: skip
        if event.startswith(refused):
            raise PermissionError(event + " is not allowed in tests")
        if event == "import" and args[0] in (
            "readline",
            "_ctypes",
            "_testcapi",
            "_testinternalcapi",
        ):
            raise ImportError(args[0] + " is not allowed in tests")
        if event != "open":
            return
        path, mode, flags = args
        if (isinstance(mode, str) and set(mode) & {"w", "a", "x", "+"}) or (
            isinstance(flags, int) and flags & writing
        ):
            raise PermissionError("writing is not allowed in tests")
        if (isinstance(path, str) and "/proc" in path) or (
            isinstance(path, bytes) and b"/proc" in path
        ):
            raise PermissionError("reading of processes is not allowed in tests")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("not allowed in tests")

    # these raise no audit event
    for module, names in (
        (os, ("mkfifo", "mknod", "pidfd_open")), (posix, ("mkfifo", "mknod", "pidfd_open")),
        (signal, ("pidfd_send_signal",)), (sys.modules["_signal"], ("pidfd_send_signal",)),
    ):  # fmt: skip
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    _posixsubprocess.fork_exec = refuse  # type: ignore[assignment]
    sys.addaudithook(hook)


def main() -> None:
    """Run `program.py`, and write the token from standard input to the result's file if it ends."""
    options = json.loads(sys.argv[1])
    token = os.read(0, 64)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with open("program.py", encoding="utf-8") as stream:
        program = compile(stream.read(), "program.py", "exec")
    leave, write, result = os._exit, os.write, options["result"]
    if options[CONFINED]:
        confine(options["hidden"])
    limit(options["seconds"], options["memory"])
    guard()
    exec(program, {"__name__": "__main__", "__builtins__": __builtins__})
    write(result, token)
    leave(0)


if __name__ == "__main__":
    main()
