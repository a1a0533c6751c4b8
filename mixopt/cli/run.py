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
    load_study("run", **options).run()
