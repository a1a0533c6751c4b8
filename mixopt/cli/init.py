"""`mixopt init`: the YAML files of a new study."""

from collections.abc import Sequence
from pathlib import Path

import click

from mixopt.cli.options import parse_pairs


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("-d", "--domain", "domains", multiple=True, metavar="NAME=GLOB",
              help="A domain and its files; repeat for each.")  # fmt: skip
@click.option("--base", help="Folder or hub id of the base; a small one is built if left out.")
def init(folder: Path, domains: Sequence[str], base: str | None) -> None:
    """Write the YAML files of a new study into FOLDER."""
    from mixopt.config.scaffold import write_study

    path = write_study(folder, parse_pairs(domains, "--domain", "NAME=GLOB"), base)
    click.echo(f"Written   {path}\nNext      mixopt run {path}")
