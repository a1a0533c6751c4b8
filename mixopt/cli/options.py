"""Options and arguments that several verbs share."""

import logging
import shlex
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixopt.cli.output import open_view, verbosity_of
from mixopt.errors import is_installed, require_extra
from mixopt.io.model_sizes import whole_number

if TYPE_CHECKING:
    from mixopt.callbacks.console import ConsoleCallback
    from mixopt.study import Study

log = logging.getLogger(__name__)

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def combine_options(*options: Decorator) -> Decorator:
    """Return one decorator that adds several options to a command.

    Args:
        options: Decorators of click, in the order of the help page.
    """
    return lambda command: reduce(lambda done, add: add(done), reversed(options), command)


class TokenCount(click.IntRange):
    """A number of tokens, which may be written as `1e9`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; `10B` is refused with its digits."""
        try:
            number: int = super().convert(whole_number(value), param, ctx)
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)
        return number


run_options = combine_options(
    click.option("--experts", multiple=True, metavar="[DOMAIN=]DIR",
                 help="An expert trained elsewhere; the domain is the folder's name if left out."),
    click.option("--executor", metavar="NAME",
                 help="local, processes, ray or slurm; the study's own if left out."),
    click.option("--budget-tokens", type=TokenCount(min=1), metavar="N",
                 help="Tokens of training to spend on the answer; overrides the study's budget."),
    click.option("--storage", metavar="URL",
                 help="Shared storage of artifacts, for workers without a common disk."),
    click.option("--run-code", is_flag=True,
                 help="Allow code that models write, and code that the study names (formats, "
                 "harness tasks), to run."),
)  # fmt: skip
"""Adds the options that change what a study trains and scores, and where."""

_study_and_place = combine_options(
    click.argument("study"),
    click.option("-o", "--output", help="Folder of results.  [default: mixopt-runs/NAME]"),
    click.option("--seed", type=click.IntRange(min=0), help="Overrides the study's seed."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, ..."),
)

untracked_study_options = combine_options(_study_and_place, run_options)
"""Adds the argument STUDY and the options of every verb that only looks at a study."""

study_options = combine_options(
    _study_and_place,
    click.option("--track/--no-track", default=True, show_default=True,
                 help="Log to MLflow, if it is installed."),
    run_options,
)  # fmt: skip
"""Adds the argument STUDY and the options of every verb that runs a study."""

RUN_OPTIONS = ("experts", "executor", "budget_tokens", "storage", "run_code")
"""Names of what `run_options` adds."""
REPEATED = ("output", "seed", "device", "track", *RUN_OPTIONS)
"""Options that the next command on a study has to repeat."""


def load_study(
    verb: str,
    study: str,
    output: str | None,
    *,
    track: bool,
    experts: Sequence[str] = (),
    **rest: Any,
) -> "Study":
    """Load a study that reports to the terminal and to MLflow.

    Args:
        verb: Name of the MLflow run.
        study: YAML file, or `quickstart`.
        output: Folder of results.
        track: Whether to log to MLflow, if it is installed.
        experts: Values of `--experts`.
        rest: Further arguments of `Study.load`.

    Raises:
        MissingExtraError: `mixopt[train]` is not installed; or `--track` is given without MLflow.
    """
    from mixopt.study import Study

    callbacks: list[Any] = [open_console(_repeat(study))]
    if track and can_track():
        from mixopt.callbacks.mlflow.callback import MlflowCallback

        callbacks.append(MlflowCallback(verb))
    folders = _parse_folders(experts)
    return Study.load(study, output or None, callbacks=callbacks, experts=folders, **rest)


def open_console(study: str = "") -> "ConsoleCallback":
    """Return the callback that prints, as much as -q and -v ask for.

    Args:
        study: How a command line names the study, with the options that it needs; to say how to go on.
    """
    from mixopt.callbacks.console import ConsoleCallback

    context = click.get_current_context()
    return ConsoleCallback(
        click.echo, verbosity=verbosity_of(context), view=open_view(context), study=study
    )


def _repeat(study: str) -> str:
    """Return a study and the options given for it, as words of the next command line."""
    context, words = click.get_current_context(), [study]
    for option in context.command.params:
        if option.name not in REPEATED or not is_given(option.name):
            continue
        value = context.params[option.name]
        if value in ("", option.default):  # as entry points of MLflow give what is left out
            continue
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, bool):
                words.append((option.opts if one else option.secondary_opts)[-1])
            else:
                words += [option.opts[0], str(one)]
    return shlex.join(words)


def can_track() -> bool:
    """Return whether MLflow is installed, and log a line where it is not.

    Raises:
        MissingExtraError: It is not, and the command line asks for `--track`.
    """
    if is_given("track"):
        require_extra("mlflow")
    if is_installed("mlflow"):
        return True
    log.info("MLflow is not installed, so nothing is tracked: pip install 'mixopt[mlflow]'")
    return False


def is_given(name: str) -> bool:
    """Return whether the command line gives an option, rather than a default.

    Args:
        name: Of the option, without dashes.
    """
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def refuse_unused(names: Sequence[str], reason: str) -> None:
    """Refuse options that the command would ignore.

    Args:
        names: Of the options, without dashes.
        reason: Why they are ignored.

    Raises:
        UsageError: One of them is given.
    """
    for name in names:
        if is_given(name):
            raise click.UsageError(
                f"{reason}, so --{name.replace('_', '-')} would do nothing; leave it out."
            )


def parse_pairs(pairs: Sequence[str], option: str, form: str) -> dict[str, str]:
    """Return values by name.

    Args:
        pairs: Of the form `NAME=VALUE`.
        option: Name of the option, for the message.
        form: What to give, for the message.

    Raises:
        UsageError: One is of another form, or a name is given twice.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise click.UsageError(f"Give each {option} as {form}; {pair!r} is not.")
        if name in values:
            raise click.UsageError(f"{option} names {name!r} twice; give it once.")
        values[name] = value
    return values


def _parse_folders(given: Sequence[str]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for one in given:
        # a folder may have an equals sign in its name, a domain may not
        domain, mark, folder = ("", "", one) if Path(one).is_dir() else one.partition("=")
        if not mark:
            domain, folder = Path(folder or one).absolute().name, folder or one
        if domain in folders:
            raise click.UsageError(f"--experts gives {domain!r} twice; give it once.")
        folders[domain] = Path(folder)
    return folders
