"""`mixopt pack` and `mixopt unpack`: a study's results as one archive."""

from pathlib import Path

import click


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.argument("archive", type=click.Path(path_type=Path))
def pack(output: Path, archive: Path) -> None:
    """Write a study's folder of results (OUTPUT) to one ARCHIVE: .tar, .tar.gz or .tar.zst."""
    from mixopt.artifacts import archive as archives

    click.echo(f"Packed    {archives.pack(output, archive)} files into {archive}")


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
def unpack(archive: Path, output: Path) -> None:
    """Extract ARCHIVE into OUTPUT, with every checksum verified; a study there can be continued."""
    from mixopt.artifacts import archive as archives

    click.echo(f"Unpacked  {archives.unpack(archive, output)} files into {output}")
