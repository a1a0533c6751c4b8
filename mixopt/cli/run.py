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
    written = {"Proposal": "proposal.json", "Exports": "exports", "Report": "report.html"}
    if study.config.phases:
        written = {"Schedule": "schedule.json", "Exports": "exports", "Reports": "phases"}
    click.echo()
    for what, name in written.items():
        click.echo(f"{what:<9} {study.output / name}")
