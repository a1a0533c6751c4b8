"""`mixopt merge`: write a weighted merge of experts as a model folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from mixopt.errors import require_extra


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.option("-e", "--expert", "experts", multiple=True, required=True, metavar="DIR=WEIGHT",
              help="An expert and its weight; repeat for each.")  # fmt: skip
@click.option("--normalise", is_flag=True, help="Divide the weights by their sum.")
@click.option("--resize", type=click.Choice(["base", "largest"]),
              help="Vocabulary of the merge, where sizes differ.  [default: the base's]")  # fmt: skip
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="Folder to create.")  # fmt: skip
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]),
              help="Type to write.  [default: the base's]")  # fmt: skip
@click.option("--shard-size", default="4GiB", show_default=True, help="Largest file.")
@click.option("--allow-pickle", is_flag=True,
              help="Open pickled weights that you trust, by torch's restricted reader.")  # fmt: skip
def merge(
    base: Path,
    experts: Sequence[str],
    normalise: bool,
    resize: Literal["base", "largest"] | None,
    output: Path,
    dtype: str | None,
    shard_size: str,
    allow_pickle: bool,
) -> None:
    """Write BASE + weighted deltas of experts as a model folder that transformers loads."""
    require_extra("train")
    from mixopt.merging.to_disk import merge_to_disk

    folder = merge_to_disk(base, _parse_experts(experts), output, dtype=dtype,
                           shard_bytes=_parse_bytes(shard_size, "--shard-size"),
                           allow_pickle=allow_pickle, normalise=normalise, resize=resize)  # fmt: skip
    click.echo(f"Written   {folder}")


def _parse_experts(pairs: Sequence[str]) -> dict[str | Path, float]:
    weights: dict[str | Path, float] = {}
    for pair in pairs:
        folder, mark, number = pair.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            mark = ""
        if not mark or not folder:
            raise click.UsageError(f"Give each --expert as DIR=WEIGHT; {pair!r} is not.")
        if Path(folder) in weights:
            raise click.UsageError(f"--expert names {folder} twice; give it once.")
        weights[Path(folder)] = weight
    return weights


def _parse_bytes(text: str, option: str) -> int:
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        size = 0
    if size <= 0:
        raise click.UsageError(f"{option} {text!r} is not a size; give 4GiB, 500MB, ...")
    return size
