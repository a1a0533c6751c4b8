"""Reading runs of an experiment, and logging proposals from a table into a run that is open."""

import os
from collections.abc import Sequence
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from mixopt.callbacks.mlflow.names import name_metrics
from mixopt.errors import UserError
from mixopt.proposal import Proposal


def log_proposals(proposals: Sequence[Proposal], files: Sequence[Path]) -> None:
    """Ratios, gains and files of proposals from a table, in the run that `mlflow run` has opened.

    Raises:
        UserError: The run cannot be written.
    """
    client, run = MlflowClient(), os.environ["MLFLOW_RUN_ID"]
    try:
        for key, value in name_metrics(proposals[0]).items():
            client.log_metric(run, key, value)
        client.set_tag(run, "mixopt.verdict", proposals[0].verdict)
        client.set_tag(run, "mixopt.verb", "propose")
        for file in files:
            client.log_artifact(run, str(file))
    except MlflowException as error:
        told = " ".join(str(error).split())
        raise UserError(
            f"The MLflow run {run} cannot be written ({told}); mend the store."
        ) from None


def read_runs(experiment: str) -> "pd.DataFrame":
    """The finished runs of an MLflow experiment, one row each, for `mixopt.read_trials(runs=...)`.

    Columns are the runs' parameters and metrics by their own names; `run_id` names the run. Ratios
    are parameters (or metrics) such as `ratio/web`.

    Raises:
        UserError: There is no such experiment, or it has no finished runs.
    """
    if mlflow.get_experiment_by_name(experiment) is None:
        raise UserError(
            f"MLflow has no experiment {experiment!r} at {mlflow.get_tracking_uri()}; mend the name, "
            "or set MLFLOW_TRACKING_URI."
        )
    frame = mlflow.search_runs(experiment_names=[experiment], filter_string="status = 'FINISHED'")
    if not len(frame):
        raise UserError(f"The MLflow experiment {experiment!r} has no finished runs; make some.")
    kept = [c for c in frame.columns if c.startswith(("params.", "metrics."))]
    table = frame[["run_id", *kept]].copy()
    for column in kept:
        # parameters are text in MLflow
        numbers = pd.to_numeric(table[column], errors="coerce")
        if numbers.notna().any():
            table[column] = numbers
    return table
