"""Sending: records of the spool to an MLflow server, in order, each so that twice is as once.

MLflow's own retries wait for minutes and may create a run twice, so they are turned off; what failed for
a reason that passes stays in the spool and is tried again.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import requests
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import InvalidUrlException, MlflowException
from mlflow.tracking import MlflowClient

from mixopt.callbacks.mlflow.queue import Session
from mixopt.errors import UserError

log = logging.getLogger(__name__)

FOLDER = "mlflow-spool"
"""Folder of a study's output where records wait."""
PASSING_CODES = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED",
                 "DEADLINE_EXCEEDED")  # fmt: skip
FEWEST_PASSING, TOO_MANY, TIMEOUT = 500, 429, 408
"""HTTP answers that another try may mend."""
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Between tries while a server is away."""
LAST_WAIT_S = 60.0
"""How long the end of a command waits for a server that takes what it is sent."""
SQLITE = "sqlite:///"
UID = "mixopt.uid"
"""Tag by which a run is found that was created before a crash."""


class _AwayError(Exception):
    """The server did not take a record now; it may later."""


class _RefusedError(Exception):
    """The server will never take a record."""


class Post:
    """Sends one session's records.

    Args:
        session: The records.
        uri: Of the tracking store.
    """

    def __init__(self, session: Session, uri: str) -> None:
        own = tracking_uri()  # with the password that is not written down
        self._session, self.uri = session, own if hide_password(own) == uri else uri
        self._client: MlflowClient | None = None
        self._unsure = True  # whether the next record may have arrived already

    def send_next(self) -> bool:
        """Sends a record; False where none waits.

        Raises:
            _AwayError: The server did not take it.
            UserError: The store cannot be used.
        """
        record = self._session.next()
        if record is None:
            return False
        if record["run"] in self._session.names or record["do"] == "run":
            try:
                names = self._send(record)
            except _RefusedError as refused:
                if record["do"] == "run":
                    raise UserError(
                        f"MLflow's store at {self.uri} cannot be used ({refused}); mend "
                        "MLFLOW_TRACKING_URI, or run with --no-track."
                    ) from None
                log.warning("MLflow refused a record, which is left out: %s", refused)
                names = {}
        else:
            names = {}
        self._session.tick(names)
        self._unsure = False
        return True

    def end(self) -> None:
        """Ends the runs of a command that was killed, once all that it wrote down was sent."""
        names = self._session.names
        for run in self._session.unended & names.keys():
            try:
                self._send({"do": "end", "run": run, "status": "KILLED", "time": now_ms()})
            except _RefusedError as refused:  # somebody has deleted it
                log.warning("MLflow has no run to end any more: %s", refused)

    def _send(self, record: Mapping[str, Any]) -> dict[str, str]:
        try:
            if self._client is None:
                self._client = MlflowClient(self.uri)
            return getattr(self, f"_send_{record['do']}")(self._client, record) or {}
        except Exception as error:
            self._unsure = True
            told = " ".join(str(error).split())[:300] or type(error).__name__
            if may_pass(error):
                raise _AwayError(told) from error
            if isinstance(error, OSError | ImportError) or _is_stores_own(error):
                raise _RefusedError(told) from error
            raise

    def _send_run(self, client: MlflowClient, record: Mapping[str, Any]) -> dict[str, str]:
        """Creates a run, or finds the one that was created before or is given."""
        if record["id"] is not None:
            for key, value in record["tags"].items():
                client.set_tag(record["id"], key, value)
            return {record["run"]: record["id"]}
        parent = record["parent"]
        parent = self._session.names.get(parent, parent)
        if parent is not None:
            experiment = client.get_run(parent).info.experiment_id
        else:
            experiment = _find_experiment(client, record["experiment"])
        found = client.search_runs([experiment], f"tags.`{UID}` = '{record['run']}'", max_results=1)
        if found:
            return {record["run"]: found[0].info.run_id}
        tags = {**record["tags"], UID: record["run"]}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        run = client.create_run(experiment, start_time=record["time"], tags=tags,
                                run_name=record["name"])  # fmt: skip
        return {record["run"]: run.info.run_id}

    def _send_batch(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        run = self._session.names[record["run"]]
        points = [tuple(point) for point in record["metrics"]]
        if self._unsure and points:  # not every store takes a point twice for one
            for key in {point[0] for point in points}:
                there = {(m.key, m.value, m.timestamp, m.step)
                         for m in client.get_metric_history(run, key)}  # fmt: skip
                points = [point for point in points if point not in there]
        client.log_batch(
            run,
            metrics=[Metric(*point) for point in points],
            params=[Param(key, value) for key, value in record["params"].items()],
            tags=[RunTag(key, value) for key, value in record["tags"].items()],
        )

    def _send_data(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        dataset = MetaDataset(  # type: ignore[abstract]
            _TextSource(record["name"]), name=record["name"], digest=record["digest"]
        )
        tag = InputTag("mlflow.data.context", "training")
        given = DatasetInput(dataset._to_mlflow_entity(), [tag])
        client.log_inputs(self._session.names[record["run"]], [given])

    def _send_text(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        client.log_text(self._session.names[record["run"]], record["text"], record["path"])

    def _send_file(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        path = self._session.path.parent.parent / record["file"]
        if path.is_file():  # a later command may have replaced the folder
            client.log_artifact(self._session.names[record["run"]], str(path), record["to"])

    def _send_end(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        run = self._session.names[record["run"]]
        client.set_terminated(run, record["status"], end_time=record["time"])


class Sender:
    """Sends sessions in a thread of its own while a study goes on.

    Args:
        sessions: Oldest first; the last is that of this command.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = list(sessions)
        own = self._sessions[-1].claim()  # before another command can take it for one that was left
        assert own, "nobody else knows it yet"
        self._news, self._met = threading.Event(), threading.Event()
        self._closing = threading.Event()
        self.failure: UserError | None = None
        """Why this command's own records can never be sent."""
        self.away: str | None = None
        """Why the server does not take records now."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def meet(self, seconds: float) -> None:
        """Waits until the server has answered once, was found to be away, or `seconds` are over.

        Raises:
            UserError: The store can never be used.
        """
        self._met.wait(seconds)
        if self.failure is not None:
            raise self.failure

    def wake(self) -> None:
        """There are new records."""
        self._news.set()

    def finish(self, seconds: float = LAST_WAIT_S) -> int:
        """Records that still wait, after the server had a last chance."""
        self._closing.set()
        self._news.set()
        self._thread.join(seconds)
        return sum(session.waiting for session in self._sessions)

    def _run(self) -> None:
        for session in self._sessions:
            own = session is self._sessions[-1]
            if not own and not session.claim():
                continue  # somebody else is sending it
            if not self._send_all(session, own=own):
                session.release()
                return

    def _send_all(self, session: Session, *, own: bool) -> bool:
        """Sends a session to its end; False where it stays in the spool."""
        post = Post(session, session.about.get("uri", ""))
        tries = 0
        while True:
            closing = self._closing.is_set()
            self._news.clear()
            try:
                sent = post.send_next()
                if not sent and not own:
                    post.end()
            except _AwayError as away:
                self.away = str(away)
                self._met.set()
                if closing:
                    return False
                self._closing.wait(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
                tries += 1
                continue
            except UserError as error:
                if not own:  # an older command's store; its records stay
                    session.release()
                    return True
                self.failure = error
                self._met.set()
                return False
            if sent:
                self.away, tries = None, 0
                self._met.set()
                continue
            if not own or closing:
                session.remove()
                return True
            self._news.wait()


def send_left(output: Path) -> tuple[int, int]:
    """Records of a study's folder that were sent now, and those that still wait.

    Raises:
        UserError: There is no such folder, a server is away, or a store can never be used.
    """
    if not output.is_dir():
        raise UserError(f"{output} does not exist; give the folder of a study's results.")
    hurry()
    sent = 0
    for session in Session.left_in(output / FOLDER):
        if not session.claim():
            raise UserError(
                f"A command is sending what waits in {output / FOLDER}; wait for its end."
            )
        post = Post(session, session.about.get("uri", ""))
        try:
            while post.send_next():
                sent += 1
            post.end()
        except _AwayError as away:
            session.release()
            raise UserError(
                f"MLflow at {post.uri} does not answer ({away}); {sent} records were sent and "
                f"{session.waiting} wait: start it and sync again."
            ) from None
        session.remove()
    return sent, sum(session.waiting for session in Session.left_in(output / FOLDER))


def hurry() -> None:
    """Lets MLflow fail soon: what it did not take waits in the spool."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


def may_pass(error: Exception) -> bool:
    """Whether another try may succeed: the server is away, busy, or met an error of its own."""
    if isinstance(error, InvalidUrlException):
        return False
    if isinstance(error, MlflowException):
        cause = error.__cause__ or error.__context__
        if error.error_code in PASSING_CODES:
            return True
        return error.error_code == "INTERNAL_ERROR" and _is_network(cause)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        code = error.response.status_code
        return code in (TIMEOUT, TOO_MANY) or code >= FEWEST_PASSING
    return _is_network(error)


def _is_network(error: BaseException | None) -> bool:
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.RetryError)
    return isinstance(error, passing) and not isinstance(error, requests.exceptions.SSLError)


def _is_stores_own(error: Exception) -> bool:
    """Whether a store's library raised it: MLflow's, requests', or a database's."""
    family = type(error).__module__.split(".")[0]
    return isinstance(error, MlflowException) or family in ("mlflow", "requests", "sqlalchemy")


def _find_experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            raise _RefusedError(f"its experiment {name!r} was deleted; restore it, or name another")
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        found = client.get_experiment_by_name(name)  # another command was faster
        assert found is not None
        return str(found.experiment_id)


def tracking_uri() -> str:
    """Where this process logs to, in words that mean the same from any folder."""
    told = str(mlflow.get_tracking_uri())
    if told.startswith(SQLITE) and not told.startswith(f"{SQLITE}/"):
        return f"{SQLITE}{Path(told.removeprefix(SQLITE)).absolute()}"
    return told if ":" in told else str(Path(told).absolute())


def hide_password(uri: str) -> str:
    """The address without the name and the password in it."""
    return re.sub(r"//[^/@]*@", "//", uri, count=1)


def now_ms() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(time.time() * 1000)


class _TextSource(DatasetSource):
    """Text that a recipe names; what it names is in the logged recipe."""

    def __init__(self, domain: str) -> None:
        self.domain = domain

    @staticmethod
    def _get_source_type() -> str:
        return "mixopt"

    def load(self) -> None:
        """Nothing: the text stays where it lies."""

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: Any) -> "_TextSource":
        return cls(str(raw_source))

    def to_dict(self) -> dict[str, str]:
        """The name of the domain."""
        return {"domain": self.domain}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> "_TextSource":
        """The source that `to_dict` described."""
        return cls(source_dict["domain"])
