"""`mixopt report`: the HTML report of a study."""

from typing import Any

import click

from mixopt.cli.options import load_study, study_options


@click.command()
@study_options
def report(**options: Any) -> None:
    """Write the report of a study again, after any steps that are missing, trainings too."""
    study = load_study("report", **options)
    with study.running():
        trials = study.search()
        proposals, validation = study.answer(trials)
        study.report(trials, proposals, validation)
