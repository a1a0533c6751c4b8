"""`mixopt search`: score candidate mixtures by ensembles and merges of the experts."""

from typing import Any

import click

from mixopt.cli.options import load_study, study_options


@click.command()
@study_options
def search(**options: Any) -> None:
    """Score candidate mixtures in rounds, after trainings that are missing.

    These are base, experts, and natural's first two runs of a budget. Candidates are scored by ensembles
    and merges of the experts, or as `search.method` says.
    """
    load_study("search", **options).search()
