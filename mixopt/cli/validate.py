"""`mixopt validate`: train proxy runs and compare the merges with them."""

from typing import Any

import click

from mixopt.cli.options import load_study, study_options


@click.command()
@study_options
def validate(**options: Any) -> None:
    """Train real proxy runs, report how well the proxies rank them, and propose with both."""
    from mixopt.pipeline.sections import require_validation

    study = load_study("validate", **options)
    require_validation(study.config)  # before the search trains anything
    with study.running():
        trials = study.search()
        study.validate(trials=trials)
        study.propose(trials)
