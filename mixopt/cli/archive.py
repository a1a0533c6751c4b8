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
@click.option("--max-size", metavar="SIZE", default="20GB", show_default=True,
              help="Most that is unpacked, such as 300GB.")  # fmt: skip
def unpack(archive: Path, output: Path, max_size: str) -> None:
    """Extract ARCHIVE into OUTPUT, with every checksum verified.

    Continue the study there with `mixopt run STUDY -o OUTPUT`. Its YAML files, texts and base are not in
    the archive.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from mixopt.artifacts import archive as archives

    try:
        limit = TypeAdapter(ByteSize).validate_python(max_size)
    except ValidationError:
        raise click.UsageError(f"--max-size {max_size!r} is no size; give one as 300GB.") from None
    n_files = archives.unpack(archive, output, max_size=limit)
    click.echo(f"Unpacked  {n_files} files into {output}")
