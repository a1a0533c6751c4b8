"""`mixopt validate`: train proxy runs and compare the merges with them."""

from typing import Any

import click

from mixopt.cli.options import load_study, study_options


@click.command()
@study_options
def validate(**options: Any) -> None:
    """Train real proxy runs, report how well the proxies rank them, and propose with both."""
    study = load_study("validate", **options)
    with study.running():
        trials = study.search()
        study.validate(trials=trials)
        study.propose(trials)
