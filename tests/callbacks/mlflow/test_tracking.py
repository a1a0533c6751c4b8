import mlflow
import pytest

from mixopt.callbacks.mlflow.tracking import (
    explain,
    find_location_problem,
    require_own_store,
    tracking_uri,
)
from mixopt.errors import UserError

SERVER = "https://me:secret@tracking.org/x"


def test_uris_are_absolute(store, tmp_path):
    mlflow.set_tracking_uri("sqlite:///m.db")
    assert tracking_uri() == f"sqlite:///{tmp_path}/m.db"


def test_the_end_of_a_password_that_a_library_takes_for_a_host(store):
    mlflow.set_tracking_uri("postgresql://me:p@ss%21word@db.org:5432/mlflow")
    error = RuntimeError('could not translate host "ss%21word@db.org"; "p@ss!word" is no password')
    assert explain(error) == 'could not translate host "db.org"; "***" is no password'
    assert explain(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize(("location", "uri", "problem"), [
    ("mlflow-artifacts:/1/2/artifacts", SERVER, None),
    ("mlflow-artifacts://tracking.org/1", SERVER, None),
    ("https://tracking.org/artifacts", SERVER, None),
    ("s3://bucket/1", SERVER, None),
    ("/home/me/mlruns/1", "sqlite:////home/me/mlflow.db", None),
    ("file:///home/me/mlruns/1", "/home/me/mlruns", None),
    ("file:///home/me/mlruns/1", "postgresql+psycopg2://u:p@db/mlflow", None),
    ("s3://bucket/1", "sqlite:////home/me/mlflow.db", None),
    ("file:///home/me/.config", SERVER, "on this machine"),
    ("FILE:///home/me/.config", SERVER, "on this machine"),
    ("/home/me/.config", SERVER, "on this machine"),
    ("file:///home/me/.config", "databricks", "on this machine"),
    ("runs:/0123/x", SERVER, "on this machine"),
    ("http://elsewhere.org/artifacts", SERVER, "another server"),
    ("https://tracking.org@elsewhere.org/artifacts", SERVER, "another server"),
    ("mlflow-artifacts://elsewhere.org:80/1", SERVER, "another server"),
    ("mlflow-artifacts://elsewhere.org:80/1", "sqlite:////home/me/mlflow.db", "another server"),
])  # fmt: skip
def test_a_store_may_not_ask_for_files_of_this_machine_or_another_server(location, uri, problem):
    found = find_location_problem(location, uri)
    assert found is None if problem is None else problem in found


def test_a_store_inside_the_results_is_not_taken_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(None)
    results = tmp_path / "from-a-stranger"
    results.mkdir()
    (results / "mlflow.db").write_bytes(b"")
    monkeypatch.chdir(results)
    with pytest.raises(UserError, match="inside the folder of results, which may come from others"):
        require_own_store(results)
    require_own_store(tmp_path / "other")
    (results / "mlruns").mkdir()  # MLflow takes such a folder too
    (results / "mlruns" / "0").mkdir()
    (results / "mlruns" / "0" / "meta.yaml").write_text("")
    with pytest.raises(UserError, match="set MLFLOW_TRACKING_URI"):
        require_own_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{results}/mlflow.db")
    require_own_store(results)  # the user says so
