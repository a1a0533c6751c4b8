"""The group of all verbs: logging, exit codes, and errors as one sentence.

Exit codes: 0 done, 1 the run failed, 2 wrong input, 130 interrupted (143 by SIGTERM, 129 by SIGHUP). An
error is one sentence on stderr;
`mixopt -v` shows its traceback.
"""

import errno
import logging
import os
import select
import sys
import warnings
from importlib import import_module
from typing import Any, NoReturn, cast

import click

from mixopt import __version__
from mixopt.cli.output import (
    StderrHandler,
    make_verbosity_options,
    set_log_level,
    showing_progress,
    verbosity_of,
)
from mixopt.cli.start import STOPPED
from mixopt.errors import MixoptError, explain_missing_extra, hide_credentials, one_line
from mixopt.io.interrupts import acknowledge_stop, is_stopping, stop_exit_code
from mixopt.io.redaction import format_traceback, redact_output

VERBS = ("buckets", "capability-text", "design", "export", "init", "merge", "pack", "plan", "preview",
         "propose", "report", "run", "search", "spend", "status", "sync", "train", "unpack",
         "validate")  # fmt: skip
"""Each is a function of its module; `pack` and `unpack` share the module `archive`."""


class VerbGroup(click.Group):
    """Import a verb's module on demand, and end in one sentence where a verb fails."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the verbs in the order of the help page."""
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the command of a verb, with -q and -v, or None if there is no such verb."""
        if name not in VERBS:
            return None
        function = name.replace("-", "_")
        module = "archive" if name in ("pack", "unpack") else function
        command = cast(click.Command, getattr(import_module(f"mixopt.cli.{module}"), function))
        known = {option.name for option in command.params}
        command.params += [
            option for option in make_verbosity_options() if option.name not in known
        ]
        return command

    def invoke(self, context: click.Context) -> Any:
        """Run the verb and turn its exceptions into a message and an exit code."""
        try:
            with showing_progress(context):
                return super().invoke(context)
        except click.ClickException as raised:
            raised.message = hide_credentials(raised.message)  # type: ignore[misc]
            raise
        except (click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            _exit_stopped()
        except Exception as raised:
            if is_stopping():  # a library turned the interrupt into an error of its own
                _exit_stopped()
            if verbosity_of(context) > 0:
                click.echo(format_traceback(raised), err=True)
                sys.exit(getattr(explain_missing_extra(raised), "exit_code", 1))
            if _is_output_closed(raised):
                click.echo(
                    "mixopt: its output was closed (`| head`, say), so it stopped; finished work is "
                    "kept, run again to continue.",
                    err=True,
                )
                sys.exit(1)
            if isinstance(raised, MemoryError) or getattr(raised, "errno", None) == errno.ENOMEM:
                click.echo(
                    f"mixopt: this machine has too little memory, or a limit of it is too low "
                    f"({one_line(raised)}); finished work is kept, run again with more.",
                    err=True,
                )
                sys.exit(1)
            error = explain_missing_extra(raised)
            if isinstance(error, MixoptError):
                click.echo(f"mixopt: {error}", err=True)
                sys.exit(error.exit_code)
            click.echo(
                f"mixopt: internal error ({type(error).__name__}: {one_line(error, None)}); run again "
                "with `mixopt -v ...` and report the traceback.",
                err=True,
            )
            sys.exit(1)


def _is_output_closed(error: Exception) -> bool:
    """Return whether nobody reads the output any more; what is left to write is dropped."""
    if not isinstance(error, OSError) or error.errno not in (errno.EPIPE, errno.EIO):
        return False
    try:
        place, poll = sys.stdout.fileno(), select.poll()
    except (OSError, AttributeError):  # no file, or a system without poll
        return False
    poll.register(place, 0)
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), place)  # Python flushes once more at its end
    return True


def _exit_stopped() -> NoReturn:
    acknowledge_stop()
    click.echo(STOPPED, err=True)
    sys.exit(stop_exit_code())


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"],
                                              "max_content_width": 100})  # fmt: skip
@click.version_option(__version__, prog_name="mixopt")
def main() -> None:
    """Find the data mixture for a language model's next training run."""
    redact_output()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[StderrHandler()])
    set_log_level(verbosity_of(click.get_current_context()))
    # peft reads transformers' old names, which a user cannot change
    warnings.filterwarnings("ignore", message=".*deprecated", category=FutureWarning)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


main.params += make_verbosity_options()
