"""What a command prints: -q and -v, log lines, and the view of work under way."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mixopt.callbacks.view import View
    from mixopt.io.progress import Work

VERBOSITY, VIEW = "mixopt.verbosity", "mixopt.view"
"""Keys of what all contexts of a command line share."""


class StderrHandler(logging.StreamHandler[Any]):
    """Prints log records on what is stderr at the time: a live view replaces it while it draws."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """The stream."""
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record that no callback has shown in a shorter form, in one line."""
        from mixopt.io.display import show_line

        if getattr(record, "shown", False):
            return
        try:
            text = self.format(record)
            lines = [text] if record.exc_info is None else text.splitlines()
            self.stream.write("".join(f"{show_line(line)}\n" for line in lines))
            self.flush()
        except Exception:  # as all handlers of the standard library do
            self.handleError(record)


def make_verbosity_options() -> list[click.Option]:
    """Return the options -q and -v, which every verb has, and the group before it."""

    def change(context: click.Context, option: click.Parameter, given: bool) -> None:
        if given:
            context.meta[VERBOSITY] = -1 if option.name == "quiet" else 1
            set_log_level(context.meta[VERBOSITY])

    return [
        click.Option(["-q", "--quiet"], is_flag=True, expose_value=False, callback=change,
                     help="Print only the result."),
        click.Option(["-v", "--verbose"], is_flag=True, expose_value=False, callback=change,
                     help="Print and log more, and show tracebacks."),
    ]  # fmt: skip


def verbosity_of(context: click.Context) -> int:
    """Return -1 with -q, 1 with -v, else 0."""
    return int(context.meta.get(VERBOSITY, 0))


def set_log_level(verbosity: int) -> None:
    """Let mixopt log as much as -q or -v ask for.

    Args:
        verbosity: As `verbosity_of` returns it.
    """
    level = {-1: logging.ERROR, 0: logging.INFO, 1: logging.DEBUG}[verbosity]
    logging.getLogger("mixopt").setLevel(level)


def remark(text: str) -> None:
    """Print a sentence beside the result on stderr; -q leaves it out."""
    from mixopt.errors import hide_credentials
    from mixopt.io.display import show_line

    if verbosity_of(click.get_current_context()) >= 0:
        click.echo(show_line(hide_credentials(text)), err=True)


def open_view(context: click.Context) -> "View":
    """Return the view of the command, opened once: live in a terminal, lines elsewhere, none with -q.

    Args:
        context: Any of the command line.
    """
    if VIEW not in context.meta:
        context.meta[VIEW] = _make_view(verbosity_of(context))
    view: View = context.meta[VIEW]
    return view


def _make_view(verbosity: int) -> "View":
    from mixopt.callbacks.view import LogView, View

    # of the processes of a launch the first one prints
    if verbosity < 0 or os.environ.get("RANK", "0") != "0":
        return View(click.echo)
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from mixopt.callbacks.live_view import LiveView

        return LiveView(click.echo)
    return LogView(click.echo)


@contextmanager
def showing_progress(context: click.Context) -> Iterator[None]:
    """Return a context in which work under way is shown by the command's view.

    Args:
        context: Of the command line.
    """
    from mixopt.io.progress import listening

    try:
        with listening(_Listener(context)):
            yield
    finally:
        if VIEW in context.meta:
            context.meta[VIEW].close()


class _Listener:
    """Opens the view with the first work: most commands do none that lasts."""

    def __init__(self, context: click.Context) -> None:
        self._context = context

    def on_work_begin(self, work: "Work") -> None:
        open_view(self._context).on_work_begin(work)

    def on_work_advance(self, work: "Work") -> None:
        open_view(self._context).on_work_advance(work)

    def on_work_end(self, work: "Work") -> None:
        open_view(self._context).on_work_end(work)
