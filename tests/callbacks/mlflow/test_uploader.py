import urllib.error

import fake_tracking
import mlflow
import pytest
import requests
from mlflow.exceptions import InvalidUrlException, MlflowException, RestException
from mlflow.protos.databricks_pb2 import UNAUTHENTICATED
from mlflow_records import check, write_records

from mixopt.callbacks.mlflow.queue import RecordQueue
from mixopt.callbacks.mlflow.sender import FOLDER, send_pending
from mixopt.callbacks.mlflow.uploader import UnavailableError, Uploader, is_transient, needs_login
from mixopt.errors import UserError


@pytest.mark.parametrize("kind", ["sqlite", "files"])
def test_a_record_that_was_stored_and_not_marked_is_not_logged_twice(
    store, tmp_path, monkeypatch, kind
):
    """After each record the sender dies before it can say so."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    if kind == "files":
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = f"file://{tmp_path}/runs"
        mlflow.set_tracking_uri(uri)
    write_records(tmp_path, uri)
    for _ in range(6):
        (queue,) = RecordQueue.list_in(tmp_path / FOLDER)
        queue.lock()
        mark = queue.mark_delivered
        queue.mark_delivered = lambda run_ids=None: None
        Uploader(queue).upload_next()
        queue.mark_delivered = mark
        Uploader(queue).upload_next()
        queue.unlock()
    check(mlflow.MlflowClient(uri))


def test_a_rejected_record_is_logged_and_left_out(store, tmp_path, caplog):
    queue = write_records(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    queue.append({"do": "batch", "run": "p", "metrics": [], "params": {"x": "2"}, "tags": {}})
    queue.append(
        {"do": "batch", "run": "p", "metrics": [["late", 1.0, 9, 0]], "params": {}, "tags": {}}
    )
    assert send_pending(tmp_path)[1] == 0
    assert "A record for MLflow is left out" in caplog.text
    assert check(store).data.metrics["late"] == 1.0


def test_a_deleted_run_does_not_stop_the_others(store, tmp_path, caplog):
    queue = write_records(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    queue.lock()
    uploader = Uploader(queue)
    while uploader.upload_next():
        pass
    store.delete_run(queue.run_ids["p"])
    queue.unlock()
    assert send_pending(tmp_path)[1] == 0
    assert "has no run to end any more" in caplog.text
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_defect_of_our_own_is_no_outage(store, tmp_path, monkeypatch):
    queue = write_records(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    queue.lock()
    uploader = Uploader(queue)
    monkeypatch.setattr(uploader, "_upload_run", lambda *_: {}["no"])
    with pytest.raises(KeyError):
        uploader.upload_next()


def chained(error, cause):
    error.__context__ = cause
    return error


@pytest.mark.parametrize(("error", "transient"), [
    (chained(MlflowException("away"), requests.ConnectionError()), True),
    (chained(MlflowException("away"), requests.exceptions.RetryError()), True),
    (chained(MlflowException("away"), requests.exceptions.SSLError()), False),
    (MlflowException("a page to log in"), False),
    (RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "locked"}), True),
    (RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}), False),
    (InvalidUrlException("http://x:99999"), False),
    (requests.Timeout(), True),
    (urllib.error.URLError("x"), False),
])  # fmt: skip
def test_transient_errors(error, transient):
    assert is_transient(error) is transient


@pytest.mark.parametrize(("error", "login"), [
    (RestException({"error_code": "UNAUTHENTICATED", "message": "expired"}), True),
    (RestException({"error_code": "401", "message": "expired"}), True),
    (RestException({"detail": "Unauthorized"}), True),
    (MlflowException("x failed with error code 401 != 200", error_code=UNAUTHENTICATED), True),
    (MlflowException("the response body was not in a valid JSON format"), True),
    (RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}), False),
    (MlflowException("something else"), False),
    (OSError(), False),
])  # fmt: skip
def test_credentials_that_are_not_accepted(error, login):
    assert needs_login(error) is login


@pytest.mark.parametrize("answer", [
    (401, {"error_code": "UNAUTHENTICATED", "message": "expired"}), (401, {"detail": "expired"}),
])  # fmt: skip
def test_records_wait_for_a_new_token(store, tmp_path, answer, caplog):
    """They were dropped for good when a token expired in the middle of a run."""
    with fake_tracking.serve() as server:
        mlflow.set_tracking_uri(server.uri)
        server.answers["experiments/get-by-name"] = 200, {"experiment": {
            "experiment_id": "1", "name": "toy", "lifecycle_stage": "active"}}  # fmt: skip
        server.answers["runs/create"] = fake_tracking.run_at("mlflow-artifacts:/1")
        queue = write_records(tmp_path, server.uri)
        queue.lock()
        uploader = Uploader(queue)
        assert uploader.upload_next()
        server.answers["log-batch"] = server.answers["get-history-bulk-interval"] = answer
        server.answers["get-history"] = answer
        waiting = queue.n_pending
        with pytest.raises(UnavailableError):
            uploader.upload_next()
        assert queue.n_pending == waiting
        for name in ("log-batch", "get-history-bulk-interval", "get-history"):
            del server.answers[name]  # a new token
        assert uploader.upload_next()
        assert queue.n_pending == waiting - 1
    assert "is left out" not in caplog.text


def test_a_wrong_token_at_the_start_is_told_at_once(store, tmp_path):
    with fake_tracking.serve() as server:
        mlflow.set_tracking_uri(server.uri)
        server.answers["experiments/get-by-name"] = 401, {"error_code": "UNAUTHENTICATED"}
        queue = write_records(tmp_path, server.uri)
        queue.lock()
        with pytest.raises(UserError, match="cannot be used"):
            Uploader(queue).upload_next()


def test_transient_answers_of_an_artifact_store():
    def answered(code):
        response = requests.Response()
        response.status_code = code
        return requests.HTTPError(response=response)

    assert [is_transient(answered(code)) for code in (401, 404, 408, 413, 429, 503)] == [
        False, False, True, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["absolute", "parents", "link"])
def test_only_files_of_the_results_are_uploaded(store, tmp_path, caplog, kind):
    secret = tmp_path / "secret.txt"
    secret.write_text("mine")
    results = tmp_path / "results"
    results.mkdir()
    (results / "report.html").write_text("page")
    (results / "link.txt").symlink_to(secret)
    file = {"absolute": str(secret), "parents": "../secret.txt", "link": "link.txt"}[kind]
    queue = write_records(results, f"sqlite:///{tmp_path}/mlflow.db")
    for name in (file, "report.html"):
        queue.append({"do": "file", "run": "p", "file": name, "to": None})
    assert send_pending(results) == (8, 0)
    run = store.search_runs([store.get_experiment_by_name("toy").experiment_id],
                            "run_name = 'run'")[0]  # fmt: skip
    assert {a.path for a in store.list_artifacts(run.info.run_id)} == {"a.txt", "report.html"}
    assert "is outside the folder of results" in caplog.text


def test_damaged_records_are_left_out(store, tmp_path, caplog):
    queue = write_records(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    queue.append({"do": "next", "run": "p"})
    queue.append({"do": "end", "run": ["p"]})
    assert send_pending(tmp_path) == (8, 0)
    assert "A record for MLflow is left out: it is damaged" in caplog.text
    check(store)
