"""`mixopt plan`: what a study would train, before anything is trained."""

from typing import Any

import click

from mixopt.cli.options import load_study, untracked_study_options


@click.command()
@untracked_study_options
def plan(**options: Any) -> None:
    """List the trainings of a study with tokens, FLOPs and estimated time; train nothing."""
    study = load_study("plan", track=False, **options)
    rows = study.plan()
    click.echo(study.config.search.describe_method(study.config.benchmarks))
    width = max(len(row.what) for row in rows)
    for row in rows:
        time = "" if row.seconds is None else f"{row.seconds / 60:>10,.1f} min"
        click.echo(f"{row.what:<{width}}  {row.tokens:>16,} tokens  {row.flops:.1e} FLOPs{time}")
    tokens, flops = sum(row.tokens for row in rows), sum(row.flops for row in rows)
    click.echo(f"{'in all':<{width}}  {tokens:>16,} tokens  {flops:.1e} FLOPs")
    if any(row.seconds is None for row in rows):
        click.echo("The time is known after a first training of this study.")
