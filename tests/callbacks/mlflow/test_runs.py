import mlflow
import pytest

from mixopt import Estimate, Mixture, Proposal
from mixopt.callbacks.mlflow.runs import log_proposals, read_runs
from mixopt.errors import UserError


def test_finished_runs_are_rows(store):
    experiment = store.create_experiment("sweep")
    for ratio, status in ((0.25, "FINISHED"), (0.5, "FAILED")):
        run = store.create_run(experiment).info.run_id
        store.log_param(run, "ratio/web", ratio)
        store.log_metric(run, "loss", 1 + ratio)
        store.set_terminated(run, status)
    table = read_runs("sweep")
    assert table["params.ratio/web"].tolist() == [0.25]
    assert table["metrics.loss"].tolist() == [1.25]


def test_an_experiment_without_runs_or_of_no_name_is_an_error(store):
    with pytest.raises(UserError, match="has no experiment 'sweep'"):
        read_runs("sweep")
    store.create_experiment("sweep")
    with pytest.raises(UserError, match="has no finished runs"):
        read_runs("sweep")


def test_proposals_are_logged_into_the_run_that_is_open(store, tmp_path, monkeypatch):
    run = store.create_run(store.create_experiment("x")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run)
    file = tmp_path / "proposal.json"
    file.write_text("{}")
    log_proposals([Proposal(Mixture({"a": 1.0}), Estimate(0, 0), {}, ())], [file])
    assert store.get_run(run).data.metrics["proposal/ratio/a"] == 1.0
    assert store.get_run(run).data.params == {"recommended/a": "1"}
    assert [f.path for f in store.list_artifacts(run)] == ["proposal.json"]
    names = [f"d{i}" for i in range(297)] + ["[bold]x[/]", "a//../b", "w" * 400]
    large = Proposal(Mixture.uniform(names), Estimate(0, 0), {}, ())
    other = store.create_run(store.create_experiment("y")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", other)
    log_proposals([large], [])
    assert len(store.get_run(other).data.params) == 300
    monkeypatch.setenv("MLFLOW_RUN_ID", "none")
    with pytest.raises(UserError, match="cannot be written"):
        log_proposals([Proposal(Mixture({"a": 1.0}), Estimate(0, 0), {}, ())], [file])


@pytest.mark.parametrize(("uri", "why"), [
    ("http://me:secret@127.0.0.1:9", "Max retries exceeded"),
    ("postgresql+psycopg2x://me:secret@127.0.0.1:9/x", "psycopg2x"),
])  # fmt: skip
def test_a_store_that_does_not_answer_is_one_sentence(store, monkeypatch, uri, why):
    # unset in the test's time alone: `fail_fast` sets them
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    mlflow.set_tracking_uri(uri)
    with pytest.raises(UserError, match=rf"cannot be read \(.*{why}.*; start its server") as caught:
        read_runs("sweep")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_RUN_ID", "1")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    with pytest.raises(UserError, match=rf"cannot be written \(.*{why}"):
        log_proposals([Proposal(Mixture({"a": 1.0}), Estimate(0, 0), {}, ())], [])
