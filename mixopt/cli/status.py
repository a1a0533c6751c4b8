"""`mixopt status`: the state of every artifact of a study."""

from typing import Any

import click

from mixopt.cli.options import load_study, untracked_study_options


@click.command()
@untracked_study_options
def status(**options: Any) -> None:
    """List what of a study is done, running, failed and left, without running anything."""
    if options["storage"]:
        raise click.UsageError(
            "status looks at this machine's disk alone; leave --storage out. A run with it finds what "
            "is at the URL."
        )
    study = load_study("status", track=False, **options)
    rows = study.status()
    width = max(len(row.what) for row in rows)
    for row in rows:
        cost = f"{row.seconds:>9,.1f} s {row.n_bytes / 1e6:>9,.1f} MB" if row.seconds else ""
        click.echo(f"{row.state:<8} {row.what:<{width}}{cost:<25}{row.why}".rstrip())
    n_done = sum(row.state == "done" for row in rows)
    seconds = sum(row.seconds for row in rows)
    click.echo(f"{n_done} of {len(rows)} done; {seconds:,.0f} s of work in {study.output}")
