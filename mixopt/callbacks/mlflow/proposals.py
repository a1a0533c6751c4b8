"""Reading the proposal that a study has logged to MLflow."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.tracking import MlflowClient

from mixopt.callbacks.mlflow.artifact_upload import open_repository
from mixopt.callbacks.mlflow.names import PROPOSAL_TAG
from mixopt.callbacks.mlflow.store_creation import ensure_store
from mixopt.callbacks.mlflow.tracking import absolute_uri, explain, fail_fast, tracking_uri
from mixopt.callbacks.mlflow.uploader import is_store_error
from mixopt.errors import UserError, hide_credentials
from mixopt.proposal import Proposal


def read_mlflow_proposal(run: Any, store: str | None = None) -> Proposal:
    """Return the proposal of a run of mixopt in MLflow.

    Args:
        run: Id of the run of a study or of `mixopt propose`, or MLflow's `Run`.
        store: Tracking URI; the one that MLflow is set to (`MLFLOW_TRACKING_URI`) if left out.

    Raises:
        UserError: There is no such run, it has no proposal, or its artifacts cannot be read.
        ExportError: What the run has is no proposal that mixopt wrote.
    """
    run_id = run if isinstance(run, str) else str(run.info.run_id)
    uri = tracking_uri() if store is None else absolute_uri(store)
    fail_fast()
    try:
        ensure_store(uri)
        client = MlflowClient(uri)
        path = client.get_run(run_id).data.tags.get(PROPOSAL_TAG)
        if path is None:
            raise UserError(
                f"The MLflow run {run_id} has no proposal; give the run of a study that has proposed, "
                "not one of its models."
            )
        with TemporaryDirectory() as scratch:
            artifacts: Any = open_repository(client, run_id)
            file = artifacts.download_artifacts(path, scratch)
            return Proposal.read(Path(file))
    except Exception as error:
        if not is_store_error(error):
            raise
        raise UserError(
            f"The proposal of the MLflow run {run_id} at {hide_credentials(uri)} cannot be read "
            f"({explain(error)}); fix the id, or the tracking URI."
        ) from None
