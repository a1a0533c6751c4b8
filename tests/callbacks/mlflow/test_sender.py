import socket
import threading
import time

import fake_tracking
import mlflow
import pytest
import toy
from mlflow_records import check, write_records
from server import Server

from mixopt.callbacks.base import TrainedModel
from mixopt.callbacks.mlflow.callback import MlflowCallback
from mixopt.callbacks.mlflow.queue import RecordQueue
from mixopt.callbacks.mlflow.sender import FOLDER, Sender, send_pending
from mixopt.callbacks.mlflow.uploader import UnavailableError, Uploader
from mixopt.config.loader import load_study
from mixopt.errors import UserError


def watch(output):
    """A command that tracks one expert."""
    tracker = MlflowCallback("search")
    output.mkdir(exist_ok=True)
    tracker.on_study_start(load_study(toy.write_study(output / "s")), output)
    tracker.on_model_trained(TrainedModel("expert", "birds", {"a": 1}, {"tokens": 5.0}, [(1, 3.0)]))
    return tracker


@pytest.fixture
def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_records_of_a_killed_command_are_delivered_and_its_run_is_ended(store, tmp_path):
    write_records(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    assert send_pending(tmp_path) == (6, 0)
    assert check(store).info.status == "KILLED"
    assert send_pending(tmp_path) == (0, 0)
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_server_that_is_down_at_the_start_delays_nothing(store, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("mixopt.callbacks.mlflow.sender.RETRY_PAUSES_S", (3600.0,))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
    tracker = watch(tmp_path)
    thread = tracker._sender._thread
    tracker.on_study_end(None)
    assert not thread.is_alive()  # it was not waited for in vain: the end cuts its pause short
    assert "does not answer; what is to be logged waits in" in caplog.text
    assert f"send them with: mixopt sync {tmp_path}" in caplog.text
    with pytest.raises(UserError, match="does not answer .* start it and sync again"):
        send_pending(tmp_path)


def test_the_next_command_delivers_pending_records(store, tmp_path):
    write_records(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    watch(tmp_path).on_study_end(None)
    experiment = store.get_experiment_by_name("toy")
    runs = store.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == [
        "expert", "expert birds", "run", "toy",
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
            tracker.on_model_trained(
                TrainedModel("expert", f"e{step}", {}, {"tokens": 1.0}, [(1, 3.0)])
            )
        tracker.on_study_end(None)
        waiting = sum(queue.n_pending for queue in RecordQueue.list_in(tmp_path / "out" / FOLDER))
        assert waiting > 0
        server.start()
        sent, rest = send_pending(tmp_path / "out")
        assert (sent, rest) == (waiting, 0)
        client = mlflow.MlflowClient(server.uri)
        runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
        names = sorted(run.info.run_name for run in runs)
        assert names == sorted(["toy", "expert birds", *(f"expert e{i}" for i in range(20))])
        for run in runs:
            assert run.info.status == "FINISHED"
            assert len(client.get_metric_history(run.info.run_id, "loss")) in (0, 1)
    finally:
        server.stop()


def test_a_delivered_command_logs_no_warning(store, tmp_path, caplog):
    watch(tmp_path).on_study_end(None)
    assert "mixopt sync" not in caplog.text


def test_a_command_leaves_the_queue_of_a_running_one_alone(store, tmp_path):
    first = watch(tmp_path)
    other = watch(tmp_path)
    other.on_study_end(None)
    first.on_model_trained(TrainedModel("expert", "late", {}, {}, []))
    first.on_study_end(None)
    experiment = store.get_experiment_by_name("toy")
    runs = store.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sum(run.info.run_name == "expert late" for run in runs) == 1


def test_only_what_was_sent_now_is_counted(store, tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    queue = write_records(tmp_path, uri)
    queue.lock()
    uploader = Uploader(queue)
    for _ in range(4):
        uploader.upload_next()
    queue.unlock()
    upload, n_calls = Uploader.upload_next, []

    def fail_later(uploader):
        n_calls.append(1)
        if len(n_calls) > 1:
            raise UnavailableError("gone")
        return upload(uploader)

    monkeypatch.setattr(Uploader, "upload_next", fail_later)
    with pytest.raises(UserError, match="1 records were sent and 1 wait"):
        send_pending(tmp_path)


def test_one_process_at_a_time_delivers(store, tmp_path):
    queue = write_records(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    queue.lock()
    with pytest.raises(UserError, match="wait for its end"):
        send_pending(tmp_path)


def test_a_deleted_experiment_is_an_error(store, tmp_path):
    store.delete_experiment(store.create_experiment("toy"))
    with pytest.raises(UserError, match="experiment 'toy' was deleted; restore it"):
        watch(tmp_path)


def test_a_slow_server_is_waited_for_until_the_timeout(store, tmp_path, monkeypatch):
    write_records(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    answer = threading.Event()
    monkeypatch.setattr(Uploader, "upload_next", lambda _: answer.wait(300) and False)
    sender = Sender(RecordQueue.list_in(tmp_path / FOLDER))
    assert sender.finish(0.5) == 6
    assert sender._thread.is_alive()  # the end did not wait for the answer
    answer.set()
    sender._thread.join(300)
    assert not sender._thread.is_alive()


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match="does not exist; give the folder of a study's results"):
        send_pending(tmp_path / "no")


def test_records_do_not_choose_the_server(store, tmp_path, monkeypatch, caplog):
    """A stranger's folder of results names the stranger's server, which gets nothing."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "my-token")
    with fake_tracking.serve() as stranger:
        queue = write_records(tmp_path, stranger.uri)
        with pytest.raises(
            UserError, match="they wait. If that is your store, set MLFLOW_TRACKING"
        ):
            send_pending(tmp_path)
        watch(tmp_path).on_study_end(None)
        assert stranger.requests == []
    assert "they wait" in caplog.text
    assert queue.n_pending == 6
    experiment = store.get_experiment_by_name("toy")
    runs = store.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["expert birds", "toy"]


def test_other_queues_are_sent_beside_one_for_another_server(store, tmp_path):
    write_records(tmp_path, "http://elsewhere.org")
    write_records(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(UserError, match=r"elsewhere\.org"):
        send_pending(tmp_path)
    check(store)
