import socket
import time
import urllib.error

import mlflow
import pytest
import requests
from mlflow.exceptions import InvalidUrlException, MlflowException, RestException
from server import Server

from mixopt.callbacks.base import TrainedModel
from mixopt.callbacks.mlflow.callback import MlflowCallback
from mixopt.callbacks.mlflow.queue import Session
from mixopt.callbacks.mlflow.sender import (
    FOLDER,
    Post,
    Sender,
    _AwayError,
    hide_password,
    may_pass,
    send_left,
    tracking_uri,
)
from mixopt.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")  # sqlalchemy's and alembic's own, not ours


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    for name in ("MAX_RETRIES", "TIMEOUT"):
        monkeypatch.setenv(
            f"MLFLOW_HTTP_REQUEST_{name}", {"MAX_RETRIES": "0", "TIMEOUT": "5"}[name]
        )
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    yield mlflow.MlflowClient(uri)
    mlflow.set_tracking_uri(None)


def written(folder, uri):
    """A session that a killed command left: a run with a child, of which nothing was sent."""
    session = Session.begin(folder / FOLDER, {"uri": uri})
    for record in (
        {"do": "run", "run": "p", "id": None, "name": "run", "parent": None, "experiment": "toy",
         "tags": {"a": "b"}, "time": 1000},
        {"do": "batch", "run": "p", "metrics": [["loss", 1.0, 5, 0], ["loss", 0.5, 5, 1]],
         "params": {"x": "1"}, "tags": {}},
        {"do": "data", "run": "p", "name": "web", "digest": "abc"},
        {"do": "text", "run": "p", "text": "hello", "path": "a.txt"},
        {"do": "run", "run": "c", "id": None, "name": "expert", "parent": "p", "experiment": "",
         "tags": {}, "time": 2000},
        {"do": "end", "run": "c", "status": "FINISHED", "time": 3000},
    ):  # fmt: skip
        session.add(record)
    return session


def check(client):
    """Everything is there, and each value once."""
    experiment = client.get_experiment_by_name("toy")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"run", "expert"}
    parent, child = runs["run"], runs["expert"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    history = client.get_metric_history(parent.info.run_id, "loss")
    assert sorted((m.step, m.value) for m in history) == [(0, 1.0), (1, 0.5)]
    assert parent.data.params == {"x": "1"}
    assert [d.dataset.name for d in parent.inputs.dataset_inputs] == ["web"]
    assert child.info.status == "FINISHED"
    assert child.info.end_time == 3000
    assert parent.info.start_time == 1000
    return parent


def test_what_a_killed_command_left_is_sent_and_its_run_is_ended(store, tmp_path):
    written(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    assert send_left(tmp_path) == (6, 0)
    assert check(store).info.status == "KILLED"
    assert send_left(tmp_path) == (0, 0)
    assert list((tmp_path / FOLDER).iterdir()) == []


@pytest.mark.parametrize("kind", ["sqlite", "files"])
def test_what_was_sent_and_not_ticked_off_is_not_logged_twice(store, tmp_path, monkeypatch, kind):
    """After each record the sender dies before it can say so."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    if kind == "files":
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = f"file://{tmp_path}/runs"
    written(tmp_path, uri)
    for _ in range(6):
        (session,) = Session.left_in(tmp_path / FOLDER)
        session.claim()
        tick = session.tick
        session.tick = lambda names=None: None
        Post(session, uri).send_next()
        session.tick = tick
        Post(session, uri).send_next()
        session.release()
    check(mlflow.MlflowClient(uri))


def test_a_server_that_is_down_at_the_start_costs_no_work(store, tmp_path, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
    start = time.monotonic()
    tracker = watch(tmp_path)
    tracker.study_ended(None)
    assert time.monotonic() - start < 30
    assert "does not answer; what is to be logged waits in" in caplog.text
    assert f"send them with: mixopt sync {tmp_path}" in caplog.text
    with pytest.raises(UserError, match="does not answer .* start it and sync again"):
        send_left(tmp_path)


def test_the_next_command_sends_what_waits(store, tmp_path):
    written(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    watch(tmp_path).study_ended(None)
    experiment = store.get_experiment_by_name("toy")
    runs = store.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == [
        "expert", "expert birds", "run", "search",
    ]  # fmt: skip
    assert list((tmp_path / FOLDER).iterdir()) == []


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_gets_the_rest_once(store, tmp_path, unused_port):
    server = Server(tmp_path, unused_port)
    server.start()
    try:
        mlflow.set_tracking_uri(server.uri)
        tracker = watch(tmp_path / "out")
        time.sleep(2)
        server.stop()
        for step in range(20):
            tracker.model_trained(
                TrainedModel("expert", f"e{step}", {}, {"tokens": 1.0}, [(1, 3.0)])
            )
        tracker.study_ended(None)
        waiting = sum(session.waiting for session in Session.left_in(tmp_path / "out" / FOLDER))
        assert waiting > 0
        server.start()
        sent, rest = send_left(tmp_path / "out")
        assert (sent, rest) == (waiting, 0)
        client = mlflow.MlflowClient(server.uri)
        runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
        names = sorted(run.info.run_name for run in runs)
        assert names == sorted(["search", "expert birds", *(f"expert e{i}" for i in range(20))])
        for run in runs:
            assert run.info.status == "FINISHED"
            assert len(client.get_metric_history(run.info.run_id, "loss")) in (0, 1)
    finally:
        server.stop()


def test_a_command_that_goes_well_says_nothing(store, tmp_path, caplog):
    watch(tmp_path).study_ended(None)
    assert "mixopt sync" not in caplog.text


def test_another_command_does_not_take_what_a_living_one_writes(store, tmp_path):
    first = watch(tmp_path)
    other = watch(tmp_path)
    other.study_ended(None)
    first.model_trained(TrainedModel("expert", "late", {}, {}, []))
    first.study_ended(None)
    experiment = store.get_experiment_by_name("toy")
    runs = store.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sum(run.info.run_name == "expert late" for run in runs) == 1


def test_a_run_that_somebody_has_deleted_keeps_nobody_from_the_rest(store, tmp_path, caplog):
    session = written(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    session.claim()
    post = Post(session, f"sqlite:///{tmp_path}/mlflow.db")
    while post.send_next():
        pass
    store.delete_run(session.names["p"])
    session.release()
    assert send_left(tmp_path)[1] == 0
    assert "has no run to end any more" in caplog.text
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_addresses_mean_the_same_from_any_folder_and_hold_no_password(store, tmp_path):
    mlflow.set_tracking_uri("sqlite:///m.db")
    assert tracking_uri() == f"sqlite:///{tmp_path}/m.db"
    assert hide_password("https://me:secret@tracking.org/x") == "https://tracking.org/x"
    assert hide_password("sqlite:////a/b@c.db") == "sqlite:////a/b@c.db"


def test_two_senders_do_not_meet(store, tmp_path):
    session = written(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    session.claim()
    with pytest.raises(UserError, match="wait for its end"):
        send_left(tmp_path)


def test_a_refused_record_is_said_and_left_out(store, tmp_path, caplog):
    session = written(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    session.add({"do": "batch", "run": "p", "metrics": [], "params": {"x": "2"}, "tags": {}})
    session.add(
        {"do": "batch", "run": "p", "metrics": [["late", 1.0, 9, 0]], "params": {}, "tags": {}}
    )
    assert send_left(tmp_path)[1] == 0
    assert "MLflow refused a record" in caplog.text
    assert check(store).data.metrics["late"] == 1.0


def test_an_experiment_that_was_deleted_is_told(store, tmp_path):
    store.delete_experiment(store.create_experiment("toy"))
    with pytest.raises(UserError, match="experiment 'toy' was deleted; restore it"):
        watch(tmp_path)


def test_a_slow_server_is_not_waited_for_without_end(store, tmp_path, monkeypatch):
    written(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(Post, "send_next", lambda _: time.sleep(30))
    sender = Sender(Session.left_in(tmp_path / FOLDER))
    start = time.monotonic()
    assert sender.finish(1.0) == 6
    assert time.monotonic() - start < 10


def chained(error, cause):
    error.__context__ = cause
    return error


@pytest.mark.parametrize(("error", "passes"), [
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
def test_what_another_try_may_mend(error, passes):
    assert may_pass(error) is passes


def test_answers_of_a_store_of_artifacts():
    def answered(code):
        response = requests.Response()
        response.status_code = code
        return requests.HTTPError(response=response)

    assert [may_pass(answered(code)) for code in (401, 404, 408, 413, 429, 503)] == [
        False, False, True, False, True, True,
    ]  # fmt: skip


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="does not exist; give the folder of a study's results"):
        send_left(tmp_path / "no")


def test_away_is_no_word_for_a_defect_of_ours(store, tmp_path, monkeypatch):
    session = written(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    session.claim()
    post = Post(session, f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(post, "_send_run", lambda *_: {}["no"])
    with pytest.raises(KeyError):
        post.send_next()
    assert not isinstance(KeyError(), _AwayError)


def watch(output):
    """A command that tracks one expert."""
    import toy

    from mixopt.config.loader import load_study

    tracker = MlflowCallback("search")
    output.mkdir(exist_ok=True)
    tracker.study_started(load_study(toy.write_study(output / "s")), output)
    tracker.model_trained(TrainedModel("expert", "birds", {"a": 1}, {"tokens": 5.0}, [(1, 3.0)]))
    return tracker


@pytest.fixture
def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
