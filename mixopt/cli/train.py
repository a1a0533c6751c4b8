"""`mixopt train`: the base and the experts of a study."""

from typing import Any

import click

from mixopt.cli.options import load_study, study_options


@click.command()
@study_options
def train(**options: Any) -> None:
    """Train the base and the experts."""
    load_study("train", **options).train()
