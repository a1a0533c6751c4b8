"""`mixopt run`: a study from its experts to its report."""

from typing import Any

import click

from mixopt.cli.options import load_study, study_options


@click.command()
@study_options
def run(**options: Any) -> None:
    """Run all steps: experts, search, proposal, validation, exports, report.

    STUDY is a YAML file, or `quickstart`.
    """
    study = load_study("run", **options)
    study.run()
    if study.config.phases:
        click.echo(f"\nSchedule  {study.output / 'schedule.json'}")
        click.echo(f"Exports   {study.output / 'exports'}")
        click.echo(f"Reports   {study.output / 'phases'}")
        return
    click.echo(f"\nProposal  {study.output / 'proposal.json'}")
    click.echo(f"Exports   {study.output / 'exports'}")
    click.echo(f"Report    {study.output / 'report.html'}")
