"""A view that redraws lines at the bottom of a terminal: stage, work, time left, the best so far."""

import sys
import threading
from collections.abc import Callable
from shutil import get_terminal_size
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mixopt.callbacks.base import Stage
from mixopt.callbacks.clock import describe_time
from mixopt.callbacks.view import View
from mixopt.io.display import shorten, show_line
from mixopt.io.progress import Work

TITLES: dict[Stage, str] = {
    "text": "reading text", "base": "training the base", "experts": "training experts",
    "search": "searching", "method": "running the method", "proposal": "proposing",
    "validation": "validating", "budget": "spending the budget", "report": "writing the report",
}  # fmt: skip
BAR_CELLS = 24
REDRAWS_PER_S = 4
MOST_NAMED = 3
"""Domains of the best mixture that are named."""
LONGEST_NAME = 20
"""Characters of such a name."""


class LiveView(View):
    """Draws on stderr, a terminal, and prints lines above.

    Args:
        echo: Prints a line on stdout.
        console: Where the view is drawn.
    """

    def __init__(self, echo: Callable[[str], Any], console: Console | None = None) -> None:
        super().__init__(echo)
        self._console = console or Console(stderr=True, highlight=False)
        self._works: list[Work] = []
        self._lock = threading.Lock()
        self._live: Live | None = None
        self.width = get_terminal_size().columns if sys.stdout.isatty() else None

    def close(self) -> None:
        """Erase what is drawn; lines can still be printed."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def on_work_begin(self, work: Work) -> None:
        """Show work that begins."""
        with self._lock:
            self._works.append(work)
            self.clock.on_work_begin(work)
        if self._live is None:
            self._live = Live(
                console=self._console, get_renderable=self._draw, transient=True,
                refresh_per_second=REDRAWS_PER_S, redirect_stdout=False,
            )  # fmt: skip
            self._live.start()

    def on_work_advance(self, work: Work) -> None:
        """Count a part that is done."""
        with self._lock:
            self.clock.on_work_advance(work)

    def on_work_end(self, work: Work) -> None:
        """Show no longer work that ends."""
        with self._lock:
            self._works = [each for each in self._works if each is not work]
            self.clock.on_work_end(work)
        if not self._works and self.clock.stage is None:
            self.close()  # a command without stages prints its result next

    def _print(self, text: str) -> None:
        if self._live is None or not sys.stdout.isatty():
            super()._print(text)
        else:  # in the same terminal, above what is drawn
            self._console.print(Text(text), soft_wrap=True)

    def _draw(self) -> Group:
        with self._lock:
            return Group(*self.draw_lines())

    def draw_lines(self) -> list[Text | Table]:
        """Return the lines: the stage with its bar, the work inside it, the study, the best so far."""
        counted = [work for work in self._works if work.unit]
        jobs = [work for work in self._works if not work.unit]
        outer, inner = (counted[0], counted[-1]) if counted else (None, None)
        stage = self.clock.stage
        title = TITLES[stage] if stage is not None else outer.what if outer is not None else ""
        lines: list[Text | Table] = [_draw_head(title, outer, self.clock.stage_left)]
        if inner is not None and (inner is not outer or inner.what != title):
            of = f" of {inner.total:,}" if inner.total else ""
            note = f", {inner.note}" if inner.note else ""
            lines.append(_one_line(f"  {inner.what}: {inner.unit} {inner.done:,}{of}{note}"))
        if len(jobs) > 1 or (jobs and (inner is None or inner is outer)):
            more = f", and {len(jobs) - 1} more" if len(jobs) > 1 else ""
            lines.append(_one_line(f"  at work: {jobs[0].what}{more}"))
        if stage is not None:
            passed = describe_time(self.clock.now() - self.clock.started)
            left = self.clock.study_left
            of = " of this phase" if self.clock.planned_part == "phase" else ""
            rest = f", about {describe_time(left)} left{of}" if left else ""
            lines.append(_one_line(f"  study: {passed}{rest}"))
        if self.best is not None:
            order = sorted(self.best.ratios.items(), key=lambda pair: -pair[1])
            named = ", ".join(
                f"{shorten(name, LONGEST_NAME)} {ratio:.0%}" for name, ratio in order[:MOST_NAMED]
            )
            more = f", {len(order) - MOST_NAMED} more" if len(order) > MOST_NAMED else ""
            gain, source = self.best.describe(), self.best.known_from
            lines.append(_one_line(f"  best: {gain}: {named}{more} (by {source})"))
        return lines


def _draw_head(title: str, work: Work | None, left: float | None) -> Table | Text:
    if work is None or not work.total:
        return _one_line(title, style="bold")
    table = Table.grid(padding=(0, 2))
    rest = "" if left is None else f"about {describe_time(left)} left"
    table.add_row(
        _one_line(title, style="bold"),
        ProgressBar(total=work.total, completed=work.done, width=BAR_CELLS),
        _one_line(f"{work.done:,}/{work.total:,} {work.unit}s"),
        _one_line(rest),
    )
    return table


def _one_line(text: str, style: str = "") -> Text:
    """Return untrusted text as it is, without markup, cut at the edge of the terminal."""
    return Text(show_line(text), style=style, no_wrap=True, overflow="ellipsis")
