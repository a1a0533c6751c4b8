"""`mixopt spend`: spend a study's budget on runs."""

from typing import Any

import click

from mixopt.cli.options import load_study, study_options


@click.command()
@study_options
def spend(**options: Any) -> None:
    """Train runs where they raise the expected gain most, and propose with them."""
    from mixopt.pipeline.sections import require_budget

    study = load_study("spend", **options)
    require_budget(study.config)  # before the search trains anything
    with study.running():
        trials = study.search()
        study.spend(trials=trials)
        study.propose(trials)
