"""`mixopt search`: score candidate mixtures by merges of the experts."""

from typing import Any

import click

from mixopt.cli.options import load_study, study_options


@click.command()
@study_options
def search(**options: Any) -> None:
    """Score merges and ensembles of the experts, in rounds."""
    load_study("search", **options).search()
