"""`mixopt plan`: what a study would train, before anything is trained."""

from typing import Any

import click

from mixopt.cli.options import load_study, untracked_study_options


@click.command()
@untracked_study_options
def plan(**options: Any) -> None:
    """List the trainings of a study with tokens, FLOPs and estimated time; train nothing."""
    from mixopt.pipeline.plan import PlannedTraining

    study = load_study("plan", track=False, **options)
    rows = study.plan()
    click.echo(study.config.search.describe_method(study.config.benchmarks))
    width = max(len(row.what) for row in rows)
    times = [row.seconds for row in rows if row.seconds is not None]
    is_known = len(times) == len(rows)
    tokens, flops = sum(row.tokens for row in rows), sum(row.flops for row in rows)
    total = PlannedTraining("in all", tokens, flops, sum(times) if is_known else None)
    for row in (*rows, total):
        time = "" if row.seconds is None else f"{row.seconds / 60:>10,.1f} min"
        click.echo(f"{row.what:<{width}}  {row.tokens:>16,} tokens  {row.flops:.1e} FLOPs{time}")
    if not is_known:
        click.echo("The time is known after a first training of this study.")
