"""Upload of queued records to an MLflow tracking store, each such that twice has the effect of once."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import requests
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import InvalidUrlException, MlflowException, RestException
from mlflow.tracking import MlflowClient
from mlflow.utils.validation import MAX_METRICS_PER_BATCH
from mlflow.utils.validation import MAX_PARAMS_TAGS_PER_BATCH as MOST_PARAMS

from mixopt.callbacks.mlflow.artifact_upload import ArtifactUploader, LocationError
from mixopt.callbacks.mlflow.names import now_ms
from mixopt.callbacks.mlflow.queue import RecordQueue
from mixopt.callbacks.mlflow.records import is_record
from mixopt.callbacks.mlflow.store_creation import ensure_store
from mixopt.callbacks.mlflow.tracking import explain, tracking_uri
from mixopt.errors import StorageError, UserError, hide_credentials
from mixopt.io.parsing import show

log = logging.getLogger(__name__)

T = TypeVar("T")

TRANSIENT_CODES = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED",
                   "DEADLINE_EXCEEDED")  # fmt: skip
LOGIN_CODES = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
NO_JSON = "not in a valid JSON format"
"""What MLflow's client says of a page."""
HTTP_UNAUTHORIZED, HTTP_TIMEOUT, HTTP_TOO_MANY, HTTP_SERVER_ERROR = 401, 408, 429, 500
UID = "mixopt.uid"
"""Tag with our identifier of a run, by which a run that was created before a crash is found."""


class UnavailableError(Exception):
    """The store did not take a record now and may take it later."""


class RejectedError(Exception):
    """The store will never take a record."""


class ForeignStoreError(UserError):
    """The records of a queue were made for another store than this process's own."""


class Uploader:
    """Uploads the records of one queue to this process's own tracking store, and to no other.

    Args:
        queue: A queue that this process has locked.

    Raises:
        ForeignStoreError: Its records were made for another store.
    """

    def __init__(self, queue: RecordQueue) -> None:
        self._queue = queue
        self.uri = tracking_uri()
        own, header = hide_credentials(self.uri), queue.header
        # without a header, which a crash cut off, there are no records
        if header and (recorded := header.get("uri")) != own:
            raise ForeignStoreError(
                f"The records in {queue.path} were made for MLflow at {show(recorded)}, and this is "
                f"{own}; they wait. If that is your store, set MLFLOW_TRACKING_URI to it."
            )
        self._client: MlflowClient | None = None
        self._artifacts: ArtifactUploader | None = None
        self._warned: set[str] = set()
        self._may_be_stored = True
        """Whether the next record may have been stored before, by a process that was then killed."""

    def upload_next(self) -> bool:
        """Upload the first pending record.

        Returns:
            False if no record is pending.

        Raises:
            UnavailableError: The store did not take it now.
            UserError: The store cannot be used.
        """
        record = self._queue.peek()
        if record is None:
            return False
        run_ids: dict[str, str] = {}
        if not is_record(record):
            self._warn("it is damaged")
        # records of a run that could not be created are skipped
        elif record["do"] == "run" or record["run"] in self._queue.run_ids:
            try:
                run_ids = self._upload(record)
            except RejectedError as error:
                if record["do"] == "run":
                    raise UserError(
                        f"MLflow's store at {self.uri} cannot be used ({error}); fix "
                        "MLFLOW_TRACKING_URI, or run with --no-track."
                    ) from None
                self._warn(str(error))
        self._queue.mark_delivered(run_ids)
        self._may_be_stored = False
        return True

    def end_open_runs(self) -> None:
        """Mark the runs of a killed command as KILLED, after all its records were uploaded."""
        for run in self._queue.open_runs & self._queue.run_ids.keys():
            try:
                self._upload({"do": "end", "run": run, "status": "KILLED", "time": now_ms()})
            except RejectedError as error:
                log.warning("MLflow has no run to end any more: %s", error)

    def _warn(self, reason: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            log.warning("A record for MLflow is left out: %s", reason)

    def _upload(self, record: Mapping[str, Any]) -> dict[str, str]:
        try:
            if self._client is None:
                ensure_store(self.uri)
                self._client = MlflowClient(self.uri)
                self._artifacts = ArtifactUploader(self._client)
            return getattr(self, f"_upload_{record['do']}")(self._client, record) or {}
        except Exception as error:
            self._may_be_stored = True
            reason = explain(error)
            # at the start the user is told at once; later the records wait for a new token
            is_start = record["do"] == "run" and self._queue.n_delivered == 0
            waits = isinstance(error, StorageError) or (needs_login(error) and not is_start)
            if waits or is_transient(error):
                raise UnavailableError(reason) from error
            if isinstance(error, RejectedError):
                raise
            if is_store_error(error):
                raise RejectedError(reason) from error
            raise

    def _upload_run(self, client: MlflowClient, record: Mapping[str, Any]) -> dict[str, str]:
        if record["id"] is not None:
            for key, value in record["tags"].items():
                client.set_tag(record["id"], key, value)
            return {record["run"]: record["id"]}
        parent = self._queue.run_ids.get(record["parent"], record["parent"])
        if parent is not None:
            experiment = client.get_run(parent).info.experiment_id
        else:
            experiment = _find_experiment(client, record["experiment"])
        runs = client.search_runs([experiment], f"tags.`{UID}` = '{record['run']}'", max_results=1)
        if runs:
            return {record["run"]: runs[0].info.run_id}
        tags = {**record["tags"], UID: record["run"]}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        run = client.create_run(experiment, start_time=record["time"], tags=tags,
                                run_name=record["name"])  # fmt: skip
        return {record["run"]: run.info.run_id}

    def _upload_batch(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        run = self._queue.run_ids[record["run"]]
        points = [tuple(point) for point in record["metrics"]]
        if self._may_be_stored:  # MLflow's file store keeps a point that is logged again twice
            for key in {point[0] for point in points}:
                stored = {(m.key, m.value, m.timestamp, m.step)
                          for m in client.get_metric_history(run, key)}  # fmt: skip
                points = [point for point in points if point not in stored]
        log_in_parts(client, run, points, record["params"], record["tags"])

    def _upload_data(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        source = json.dumps({"domain": record["name"]})  # the logged config says where its text is
        dataset = Dataset(record["name"], record["digest"], source_type="mixopt", source=source)
        inputs = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
        client.log_inputs(self._queue.run_ids[record["run"]], [inputs])

    def _upload_text(self, _: MlflowClient, record: Mapping[str, Any]) -> None:
        assert self._artifacts is not None
        run = self._queue.run_ids[record["run"]]
        self._artifacts.upload_text(run, record["text"], record["path"])

    def _upload_file(self, _: MlflowClient, record: Mapping[str, Any]) -> None:
        assert self._artifacts is not None
        output = self._queue.path.parent.parent.resolve()
        path = (output / record["file"]).resolve()
        if not path.is_relative_to(output):
            raise RejectedError(f"{show(record['file'])} is outside the folder of results")
        if path.is_file():  # records of earlier versions name the file itself, which may be gone
            self._artifacts.upload(self._queue.run_ids[record["run"]], path, record["to"])

    def _upload_end(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        run = self._queue.run_ids[record["run"]]
        client.set_terminated(run, record["status"], end_time=record["time"])


def log_in_parts(
    client: MlflowClient,
    run: str,
    points: Sequence[tuple[Any, ...]],
    params: Mapping[str, str],
    tags: Mapping[str, str],
) -> None:
    """Log values in as many requests as the limits of MLflow ask for.

    Args:
        client: Client of the store.
        run: MLflow's id of the run.
        points: Key, value, time and step of each metric.
        params: Parameters.
        tags: Tags.
    """
    for few in _batched([Param(key, value) for key, value in params.items()], MOST_PARAMS):
        client.log_batch(run, params=few)
    for some in _batched([RunTag(key, value) for key, value in tags.items()], MOST_PARAMS):
        client.log_batch(run, tags=some)
    for many in _batched([Metric(*point) for point in points], MAX_METRICS_PER_BATCH):
        client.log_batch(run, metrics=many)


def _batched(items: Sequence[T], most: int) -> list[Sequence[T]]:
    return [items[start : start + most] for start in range(0, len(items), most)]


def is_transient(error: Exception) -> bool:
    """Return whether another try may succeed: the server is down, busy, or had an internal error."""
    if isinstance(error, InvalidUrlException):
        return False
    if isinstance(error, MlflowException):
        cause = error.__cause__ or error.__context__
        if error.error_code in TRANSIENT_CODES:
            return True
        return error.error_code == "INTERNAL_ERROR" and _is_network(cause)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        code = error.response.status_code
        return code in (HTTP_TIMEOUT, HTTP_TOO_MANY) or code >= HTTP_SERVER_ERROR
    return _is_network(error)


def needs_login(error: Exception) -> bool:
    """Return whether the credentials were not accepted, such as a token that expired.

    A proxy that asks for a login answers with a page, or with JSON that has no code of MLflow.
    """
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return bool(error.response.status_code == HTTP_UNAUTHORIZED)
    if isinstance(error, RestException):
        return error.error_code in LOGIN_CODES or "error_code" not in error.json
    if isinstance(error, MlflowException):
        return error.error_code in LOGIN_CODES or NO_JSON in str(error)
    return False


def _is_network(error: BaseException | None) -> bool:
    transient = (requests.ConnectionError, requests.Timeout, requests.exceptions.RetryError)
    return isinstance(error, transient) and not isinstance(error, requests.exceptions.SSLError)


def is_store_error(error: Exception) -> bool:
    """Return whether an error is of the store or the way to it, such as a driver that is missing.

    Args:
        error: Raised by a call of MLflow's.
    """
    package = type(error).__module__.split(".")[0]
    ours = (MlflowException, LocationError, OSError, ImportError)
    return isinstance(error, ours) or package in ("mlflow", "requests", "sqlalchemy")


def _find_experiment(client: MlflowClient, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(name)  # another command was faster
        assert experiment is not None
    if experiment.lifecycle_stage == "deleted":
        raise RejectedError(f"its experiment {name!r} was deleted; restore it, or name another")
    return str(experiment.experiment_id)
