"""What all commands share: the group, logging, and failures told in one sentence.

Exit codes: 0 done, 1 our failure, 2 the user's mistake; a message is one sentence, no traceback.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import click

from mixopt import __version__
from mixopt.errors import MixoptError

Command = TypeVar("Command", bound=Callable[..., None])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mixopt")
@click.option("-v", "--verbose", is_flag=True, help="Say more, and show tracebacks.")
@click.pass_context
def main(context: click.Context, verbose: bool) -> None:
    """Find the data mixture for a language model's next training run."""
    context.obj = {"verbose": verbose}
    _set_up_logging(verbose)


def _set_up_logging(verbose: bool) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("mixopt").setLevel(logging.DEBUG if verbose else logging.INFO)
    # peft still asks transformers by names that it calls old; users can do nothing about it
    warnings.filterwarnings("ignore", message=".*deprecated", category=FutureWarning)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def one_sentence(command: Command) -> Command:
    """The command, its failures told in one sentence with the right exit code."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        verbose = click.get_current_context().find_root().obj["verbose"]
        try:
            command(*args, **kwargs)
        except MixoptError as error:
            if verbose:
                raise
            click.echo(f"mixopt: {error}", err=True)
            sys.exit(error.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("mixopt: stopped; what is finished is kept, run again to go on.", err=True)
            sys.exit(130)
        except Exception as error:
            if verbose:
                raise
            click.echo(
                f"mixopt: internal error ({type(error).__name__}: {error}); run again with "
                "`mixopt -v ...` and report the traceback.",
                err=True,
            )
            sys.exit(1)

    return guarded  # type: ignore[return-value]


def split_pairs(pairs: Sequence[str], option: str, form: str) -> dict[str, str]:
    """The values of an option that is given as `NAME=VALUE`, each name once."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise click.UsageError(f"Give each {option} as {form}; {pair!r} is not.")
        if name in found:
            raise click.UsageError(f"{option} names {name!r} twice; give it once.")
        found[name] = value
    return found
