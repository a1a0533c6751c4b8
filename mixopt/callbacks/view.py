"""What a command shows of its progress: the base class, and lines for log files.

A view listens to work under way (`mixopt.io.progress`), and a study tells it its plan and its stages.
"""

import sys
import time
from collections.abc import Callable
from datetime import datetime
from textwrap import fill
from typing import Any

from mixopt.callbacks.base import BestSoFar
from mixopt.callbacks.clock import StudyClock, describe_time
from mixopt.errors import hide_credentials
from mixopt.io.display import encodable, show_line
from mixopt.io.progress import Work

PULSE_S = 60.0
"""Least seconds between two lines on work of which nothing else is told."""
LONGEST_PULSE_S = 1800.0
"""Seconds after which such a line comes before the next quarter of the work is done."""
QUARTERS = 4


class View:
    """Prints lines, and nothing of work under way.

    Args:
        echo: Prints a line on stdout, for example `click.echo`.

    Attributes:
        clock: Estimates what is left.
        best: The best mixture so far, if any is known.
        width: Columns of the terminal that reads stdout; None without one.
    """

    width: int | None = None

    def __init__(self, echo: Callable[[str], Any]) -> None:
        self._echo = echo
        self.clock = StudyClock()
        self.best: BestSoFar | None = None

    def line(self, text: str, *, timed: bool = False) -> None:
        """Print a line, without control characters and credentials.

        Args:
            text: The line.
            timed: Whether the time of the day goes before it.
        """
        stamp = f"{datetime.now():%H:%M:%S}  " if timed else ""
        text = encodable(stamp + show_line(hide_credentials(text)), sys.stdout.encoding)
        if self.width is not None and len(text) > self.width:
            # a path stays whole, to be copied
            text = fill(text, self.width, subsequent_indent=" " * (len(stamp) or 2),
                        break_long_words=False, break_on_hyphens=False)  # fmt: skip
        self._print(text)

    def _print(self, text: str) -> None:
        self._echo(text)

    def close(self) -> None:
        """End what is drawn; lines can still be printed."""

    def on_work_begin(self, work: Work) -> None:
        """Take work that begins."""

    def on_work_advance(self, work: Work) -> None:
        """Take a part that is done."""

    def on_work_end(self, work: Work) -> None:
        """Take work that ends."""


class LogView(View):
    """Prints a line with its time on work that lasts, where no terminal shows it.

    Args:
        echo: Prints a line on stdout.
        now: Returns the time in seconds.
    """

    def __init__(
        self, echo: Callable[[str], Any], now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(echo)
        self.clock = StudyClock(now)
        self._now, self._last = now, now()
        self._quarters: dict[int, int] = {}

    def line(self, text: str, *, timed: bool = False) -> None:
        """Print a line."""
        self._last = self._now()
        super().line(text, timed=timed)

    def on_work_begin(self, work: Work) -> None:
        """Take work that begins."""
        self.clock.on_work_begin(work)
        self._quarters[id(work)] = 0

    def on_work_advance(self, work: Work) -> None:
        """Print how far the work is, at each quarter of long work."""
        self.clock.on_work_advance(work)
        quarter = 0 if not work.total else QUARTERS * work.done // work.total
        silent = self._now() - self._last
        is_due = quarter > self._quarters.get(id(work), 0) and silent >= PULSE_S
        if not is_due and silent < LONGEST_PULSE_S:
            return
        self._quarters[id(work)] = quarter
        if work.total is None or work.done < work.total:
            self.line(describe_work(work, self.clock), timed=True)

    def on_work_end(self, work: Work) -> None:
        """Take work that ends."""
        self.clock.on_work_end(work)
        self._quarters.pop(id(work), None)


def describe_work(work: Work, clock: StudyClock) -> str:
    """Return how far work is, and what is left, in words.

    Args:
        work: Counted work.
        clock: Estimates what is left.
    """
    of = f" of {work.total:,}" if work.total else ""
    note = f", {work.note}" if work.note else ""
    parts = [f"{work.what}: {work.unit} {work.done:,}{of}{note}"]
    if (left := clock.stage_left) is not None:
        parts.append(f"about {describe_time(left)} left of this stage")
    if (left := clock.study_left) is not None:
        parts.append(f"{describe_time(left)} of the {clock.planned_part}")
    return ", ".join(parts)
