"""`mixopt preview`: ratios from text alone, in minutes."""

from typing import Any

import click

from mixopt.cli.options import load_study, untracked_study_options


@click.command()
@untracked_study_options
def preview(**options: Any) -> None:
    """Print a first guess of the ratios from text alone; nothing is trained.

    It is the allowed mixture whose text is nearest to that of the benchmarks that choose, by optimal
    transport. A study that is run afterwards is not changed by it.
    """
    study = load_study("preview", track=False, **options)
    click.echo(str(study.preview()))
