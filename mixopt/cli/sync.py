"""`mixopt sync`: send queued records to MLflow."""

from pathlib import Path

import click

from mixopt.errors import require_extra


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
def sync(output: Path) -> None:
    """Send the records in OUTPUT that the MLflow server did not accept while the study ran."""
    require_extra("mlflow")
    from mixopt.callbacks.mlflow.sender import send_pending

    n_sent, n_waiting = send_pending(output)
    rest = f"; {n_waiting} wait" if n_waiting else ""
    click.echo(f"Sent      {n_sent} records from {output}{rest}")
