"""Files at the artifact location of a run, which the tracking store names."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from mlflow.utils.uri import add_databricks_profile_info_to_artifact_uri

from mixopt.callbacks.mlflow.tracking import find_location_problem


class LocationError(Exception):
    """Artifacts may not be written where a store asks for them."""


class ArtifactUploader:
    """Uploads files to runs of one store.

    MLflow's own client asks for the location at each upload and writes wherever it is told to. Here the
    location is asked for once and checked, and the one that was checked is used.

    Args:
        client: Client of the store.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._repositories: dict[str, ArtifactRepository] = {}

    def upload(self, run: str, file: Path, folder: str | None = None) -> None:
        """Upload a file.

        Args:
            run: MLflow's id of the run.
            file: The file; its name is kept.
            folder: Folder among the run's artifacts.

        Raises:
            LocationError: The store asks for artifacts on this machine, or at another server.
        """
        self._open(run).log_artifact(str(file), folder)  # type: ignore[no-untyped-call]

    def upload_text(self, run: str, text: str, path: str) -> None:
        """Upload a text as the file `path` among the run's artifacts.

        Raises:
            LocationError: The store asks for artifacts on this machine, or at another server.
        """
        folder, _, name = path.rpartition("/")
        with TemporaryDirectory() as scratch:
            file = Path(scratch) / name
            file.write_text(text, encoding="utf-8")
            self.upload(run, file, folder or None)

    def _open(self, run: str) -> ArtifactRepository:
        if run not in self._repositories:
            self._repositories[run] = open_repository(self._client, run)
        return self._repositories[run]


def open_repository(client: MlflowClient, run: str) -> ArtifactRepository:
    """Return the artifacts of a run.

    Args:
        client: Client of the store.
        run: MLflow's id of the run.

    Raises:
        LocationError: The store names a place on this machine, or at another server.
    """
    store = client.tracking_uri
    location = client.get_run(run).info.artifact_uri
    problem = find_location_problem(location, store)
    if problem is not None:
        raise LocationError(problem)
    location = add_databricks_profile_info_to_artifact_uri(  # type: ignore[no-untyped-call]
        location, store
    )
    return get_artifact_repository(location, tracking_uri=store)
