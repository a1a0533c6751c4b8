"""`mixopt buckets`: the documents of split texts as files, for trainers."""

from pathlib import Path
from typing import Any

import click

from mixopt.cli.options import load_study, untracked_study_options


@click.command()
@untracked_study_options
@click.option("--to", type=click.Path(path_type=Path, file_okay=False),
              help="Folder of the files.  [default: buckets in the folder of results]")  # fmt: skip
def buckets(to: Path | None, **options: Any) -> None:
    """Write the documents of each bucket of a `split` as JSON lines.

    A trainer reads domains from files of their own; the printed lines are for `paths` of an export. All
    documents are written, also those outside of the sample that a study reads of a large text.
    """
    import yaml

    study = load_study("buckets", track=False, **options)
    files = study.write_buckets(to)
    for domain, file in files.items():
        click.echo(f"{domain:<24}{file.documents:>12,} documents")
    paths = {domain: str(file.path) for domain, file in files.items()}
    click.echo(yaml.safe_dump({"paths": paths}, sort_keys=False, width=1000), nl=False)
