"""Reading the runs of an MLflow experiment, and logging proposals into the run of `mlflow run`."""

import os
from collections.abc import Sequence
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.tracking import MlflowClient

from mixopt.callbacks.mlflow.artifact_upload import ArtifactUploader
from mixopt.callbacks.mlflow.names import (
    PROPOSAL_FILE,
    PROPOSAL_TAG,
    now_ms,
    proposal_metrics,
    ratio_params,
)
from mixopt.callbacks.mlflow.store_creation import ensure_store
from mixopt.callbacks.mlflow.tracking import explain, fail_fast, tracking_uri
from mixopt.callbacks.mlflow.uploader import is_store_error, log_in_parts
from mixopt.errors import UserError, hide_credentials
from mixopt.proposal import Proposal


def log_proposals(proposals: Sequence[Proposal], files: Sequence[Path]) -> None:
    """Log proposals that were computed from a table to the run that MLFLOW_RUN_ID names.

    Args:
        proposals: Best first; ratios and gains of the best are logged.
        files: Logged as artifacts.

    Raises:
        UserError: The run cannot be written.
    """
    fail_fast()
    run = os.environ["MLFLOW_RUN_ID"]
    try:
        client = MlflowClient()
        best = proposals[0]
        points = [(key, value, now_ms(), 0) for key, value in proposal_metrics(best).items()]
        tags = {"mixopt.verdict": best.verdict, "mixopt.verb": "propose"}
        log_in_parts(client, run, points, ratio_params(best.ratios, "recommended/"), tags)
        uploader = ArtifactUploader(client)
        for file in files:
            uploader.upload(run, file)
            if file.name == PROPOSAL_FILE:
                client.set_tag(run, PROPOSAL_TAG, PROPOSAL_FILE)
    except Exception as error:
        if not is_store_error(error):
            raise
        raise UserError(
            f"The MLflow run {run} cannot be written ({explain(error)}); fix the store."
        ) from None


def read_runs(experiment: str) -> pd.DataFrame:
    """Return the finished runs of an MLflow experiment as a table for `mixopt.read_trials(runs=...)`.

    Args:
        experiment: Name of the experiment.

    Returns:
        One row per run: `run_id`, `params.NAME` and `metrics.NAME`. Ratios are parameters or metrics
        such as `ratio/web`.

    Raises:
        UserError: There is no such experiment, it has no finished runs, or the store cannot be read.
    """
    fail_fast()
    uri = tracking_uri()
    try:
        ensure_store(uri)
        if mlflow.get_experiment_by_name(experiment) is None:
            raise UserError(
                f"MLflow has no experiment {experiment!r} at {hide_credentials(uri)}; fix the name, or "
                "set MLFLOW_TRACKING_URI."
            )
        frame = mlflow.search_runs(
            experiment_names=[experiment], filter_string="status = 'FINISHED'"
        )
    except Exception as error:
        if not is_store_error(error):
            raise
        raise UserError(
            f"The MLflow store at {hide_credentials(uri)} cannot be read ({explain(error)}); start its "
            "server, or fix MLFLOW_TRACKING_URI."
        ) from None
    if not len(frame):
        raise UserError(f"The MLflow experiment {experiment!r} has no finished runs; make some.")
    # MLflow returns parameters in any order, and folds of runs depend on the order of the domains
    columns = sorted(c for c in frame.columns if c.startswith(("params.", "metrics.")))
    table = frame[["run_id", *columns]].copy()
    for column in columns:
        # MLflow stores parameters as text
        numbers = pd.to_numeric(table[column], errors="coerce")
        if numbers.notna().any():
            table[column] = numbers
    return table
