"""Commands on a study: run, train, search, validate, init."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mixopt.callbacks.console import ConsoleCallback
from mixopt.cli.shell import main, one_sentence, split_pairs

if TYPE_CHECKING:
    from mixopt.study import Study

Command = TypeVar("Command", bound=Callable[..., None])


def study_options(command: Command) -> Command:
    """The arguments that every command on a study takes."""
    options = [
        click.argument("study"),
        click.option("-o", "--output", help="Folder of results.  [default: mixopt-runs/NAME]"),
        click.option("--seed", type=click.IntRange(min=0), help="Overrides the study's seed."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, ..."),
        click.option("--track/--no-track", default=True, show_default=True, help="Log to MLflow."),
        click.option("--experts", multiple=True, metavar="[DOMAIN=]DIR",
                     help="An expert trained elsewhere; a folder's name is its domain."),
        click.option("--executor", metavar="NAME",
                     help="local, processes, ray or slurm; the study's own if left out."),
        click.option("--storage", metavar="URL",
                     help="Where workers without this disk find and leave what is made."),
        click.option("--run-code", is_flag=True, help="Let benchmarks run what models write."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def load_study_for(
    verb: str,
    study: str,
    output: str | None,
    seed: int | None,
    device: str,
    track: bool,
    experts: Sequence[str] = (),
    run_code: bool = False,
    executor: str | None = None,
    storage: str | None = None,
) -> "Study":
    """The study, watched by the terminal and, with `track`, by MLflow."""
    from transformers.utils import logging as transformers_logging

    from mixopt.study import Study

    transformers_logging.disable_progress_bar()
    callbacks: list[Any] = [ConsoleCallback(click.echo)]
    if track:
        from mixopt.callbacks.mlflow.callback import MlflowCallback

        callbacks.append(MlflowCallback(verb))
    return Study.load(study, output or None, seed=seed, device=device, callbacks=callbacks,
                      experts=parse_folders(experts), run_code=run_code, executor=executor,
                      storage=storage)  # fmt: skip


def parse_folders(given: Sequence[str]) -> dict[str, Path]:
    """Folder by domain from `DOMAIN=DIR`, or `DIR` where its name is the domain."""
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


@main.command()
@study_options
@one_sentence
def run(**options: Any) -> None:
    """The whole road: experts, search, proposal, validation, exports, report.

    STUDY is a YAML file, or `quickstart`.
    """
    study = load_study_for("run", **options)
    study.run()
    if study.config.phases:
        click.echo(f"\nSchedule  {study.output / 'schedule.json'}")
        click.echo(f"Exports   {study.output / 'exports'}")
        click.echo(f"Reports   {study.output / 'phases'}")
        return
    click.echo(f"\nProposal  {study.output / 'proposal.json'}")
    click.echo(f"Exports   {study.output / 'exports'}")
    click.echo(f"Report    {study.output / 'report.html'}")


@main.command()
@study_options
@one_sentence
def train(**options: Any) -> None:
    """Train the base and the experts."""
    load_study_for("train", **options).train()


@main.command()
@study_options
@one_sentence
def search(**options: Any) -> None:
    """Score merges and ensembles of the experts, in rounds."""
    study = load_study_for("search", **options)
    study.search()
    click.echo(f"Trials    {study.output / 'trials.csv'}")


@main.command()
@study_options
@one_sentence
def validate(**options: Any) -> None:
    """Train real proxy runs, report how well the proxies rank them, and propose with both."""
    study = load_study_for("validate", **options)
    trials = study.search()
    study.validate(trials=trials)
    study.propose(trials)
    click.echo(f"Validation {study.output / 'validation.json'}")
    click.echo(f"Proposal   {study.output / 'proposal.json'}")


@main.command()
@study_options
@one_sentence
def report(**options: Any) -> None:
    """Write the report of a study again; what it lacks is done first."""
    study = load_study_for("report", **options)
    trials = study.search()
    validation = None if study.config.validation is None else study.validate(trials=trials)
    click.echo(f"Report    {study.report(trials, study.propose(trials), validation)}")


@main.command()
@study_options
@one_sentence
def status(**options: Any) -> None:
    """Say what of a study is done, running, failed and left; nothing is made."""
    study = load_study_for("status", **options | {"track": False})
    rows = study.status()
    width = max(len(row.what) for row in rows)
    for row in rows:
        cost = f"{row.seconds:>9,.1f} s {row.n_bytes / 1e6:>9,.1f} MB" if row.seconds else ""
        click.echo(f"{row.state:<8} {row.what:<{width}}{cost:<25}{row.why}".rstrip())
    left = [row.what for row in rows if row.state != "done"]
    click.echo(f"{len(rows) - len(left)} of {len(rows)} done; {sum(r.seconds for r in rows):,.0f} s of "
               f"work in {study.output}")  # fmt: skip


@main.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.argument("archive", type=click.Path(path_type=Path))
@one_sentence
def pack(output: Path, archive: Path) -> None:
    """Put a study's folder of results (OUTPUT) into one ARCHIVE: .tar, .tar.gz or .tar.zst."""
    from mixopt.artifacts.archive import pack as write_archive

    click.echo(f"Packed    {write_archive(output, archive)} files into {archive}")


@main.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@one_sentence
def unpack(archive: Path, output: Path) -> None:
    """Put what was packed into OUTPUT, every byte checked; a run over it goes on."""
    from mixopt.artifacts.archive import unpack as read_archive

    click.echo(f"Unpacked  {read_archive(archive, output)} files into {output}")


@main.command()
@click.argument("output", type=click.Path(path_type=Path))
@one_sentence
def sync(output: Path) -> None:
    """Send to MLflow what its server did not take while a study with results in OUTPUT ran."""
    from mixopt.callbacks.mlflow.sender import send_pending

    sent, waiting = send_pending(output)
    rest = f"; {waiting} wait" if waiting else ""
    click.echo(f"Sent      {sent} records from {output}{rest}")


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("-d", "--domain", "domains", multiple=True, metavar="NAME=GLOB",
              help="A domain and its files; repeat for each.")  # fmt: skip
@click.option(
    "--base", default=None, help="Folder or hub id of the base; a small one is built if left out."
)
@one_sentence
def init(folder: Path, domains: Sequence[str], base: str | None) -> None:
    """Write a study of your own into FOLDER, ready to be run."""
    from mixopt.config.scaffold import write_study

    path = write_study(folder, split_pairs(domains, "--domain", "NAME=GLOB"), base)
    click.echo(f"Written   {path}\nNext      mixopt run {path}")
