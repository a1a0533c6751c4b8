"""The peak of a process' resident memory, which the experiments on memory share."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 0.005
"""Time between two looks."""


@dataclass
class PeakMemory:
    """Resident bytes, all and without pages of files (`anonymous`).

    Attributes:
        before: At the beginning.
        peak: The most above `before` so far.
    """

    before: dict[str, int]
    peak: dict[str, int] = field(default_factory=lambda: {"all": 0, "anonymous": 0})


@contextmanager
def follow_memory() -> Iterator[PeakMemory]:
    """Follow the resident memory of this process from another thread."""
    found, ended = PeakMemory(resident()), threading.Event()

    def follow() -> None:
        while not ended.wait(SECONDS):
            now = resident()
            for name in found.peak:
                found.peak[name] = max(found.peak[name], now[name] - found.before[name])

    watcher = threading.Thread(target=follow)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


def resident() -> dict[str, int]:
    """Return the resident bytes of this process, all and without pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = {
        line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "Rss"))
    }
    return {"all": int(values["VmRSS"]) * 1024, "anonymous": int(values["RssAnon"]) * 1024}
