"""The command that writes a proposal as a trainer's config."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from mixopt.cli.shell import main, one_sentence, split_pairs

SPLITS = ("valid", "test")
"""Options of exporters that are lists even of one."""


@main.command()
@click.argument("proposal", type=click.Path(path_type=Path))
@click.option("-f", "--format", "format_", required=True, help="json, yaml, megatron, "
              "megatron-per-split, hf-datasets, or package.module:function.")  # fmt: skip
@click.option("-p", "--path", "paths", multiple=True, metavar="DOMAIN=PATH",
              help="Where the trainer finds a domain; or one pattern with {domain}.")  # fmt: skip
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE",
              help="What only this format takes; lists with commas: valid=/d/a,/d/b.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@one_sentence
def export(
    proposal: Path,
    format_: str,
    paths: Sequence[str],
    options: Sequence[str],
    out: Path | None,
) -> None:
    """Write a PROPOSAL (proposal.json) as a trainer's config."""
    from mixopt.exporters import export as export_proposal
    from mixopt.proposal import Proposal

    sys.path.insert(0, os.getcwd())  # where a user's own package.module:function lies
    given: Mapping[str, str] | str | None = None
    if len(paths) == 1 and "{domain}" in paths[0]:
        given = paths[0]
    elif paths:
        given = split_pairs(paths, "--path", "DOMAIN=PATH (or one pattern with {domain})")
    listed = split_pairs(options, "--option", "KEY=VALUE")
    values = {key: value.split(",") if "," in value or key in SPLITS else value
              for key, value in listed.items()}  # fmt: skip
    text = export_proposal(Proposal.read(proposal), format_, paths=given, out=out, **values)
    click.echo(f"Written   {out}" if out else text, nl=bool(out))
