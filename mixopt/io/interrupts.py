"""Signals that stop a command: Ctrl-C, SIGTERM and SIGHUP.

The first one raises KeyboardInterrupt in the main thread. Where a library's callback swallows it (Python
prints such exceptions as ignored), it is raised again until some code has seen it. A second Ctrl-C ends
the process at once.
"""

import _thread
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

RESEND_S = 1.0
"""Seconds between raising KeyboardInterrupt and raising it again, until it has been seen."""
ONE_KEY_S = 0.5
"""Signals within this time are one request: a launcher passes on what the terminal has sent too."""
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class _Stop:
    """The request to stop this process, if there is one."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self.seen = threading.Event()
        self._requested_at = 0.0
        self._is_resending = False

    def handle(self, signum: int, frame: FrameType | None) -> None:
        if self._is_resending:
            self._is_resending = False
            if not self.seen.is_set():
                raise KeyboardInterrupt
            return
        now = time.monotonic()
        if self.signum is not None:
            if signum == signal.SIGINT and now - self._requested_at > ONE_KEY_S:
                _say("mixopt: ended at once; finished work is kept.")
                os._exit(128 + signum)
            return
        self.signum, self._requested_at = signum, now
        _say("mixopt: stopping; Ctrl-C once more ends at once.")
        threading.Thread(target=self._resend, args=(signum,), daemon=True).start()
        raise KeyboardInterrupt

    def _resend(self, signum: int) -> None:
        main = threading.main_thread().ident
        while not self.seen.wait(RESEND_S) and main is not None:
            self._is_resending = True
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(main, signum)
            else:  # Windows, where a blocked main thread is not woken
                _thread.interrupt_main(signal.Signals(signum))


_stop = _Stop()


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Handle the signals within the context, which the main thread enters.

    A signal that the process was started to ignore (`nohup`) stays ignored.
    """
    global _stop
    _stop = _Stop()
    before = {}
    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            before[signum] = signal.signal(signum, _stop.handle)
    try:
        yield
    finally:
        acknowledge_stop()
        for signum, handler in before.items():
            signal.signal(signum, handler)


def acknowledge_stop() -> None:
    """Say that KeyboardInterrupt has been seen: what is cleaned up now is not interrupted again."""
    _stop.seen.set()


def is_stopping() -> bool:
    """Return whether a signal has asked this process to stop."""
    return _stop.signum is not None


def stop_exit_code() -> int:
    """Return the exit code of a process that a signal stopped: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_stop.signum or signal.SIGINT)


def _say(sentence: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        os.write(2, f"\n{sentence}\n".encode())
