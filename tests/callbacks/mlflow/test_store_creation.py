import mlflow
import pytest
import toy

from mixopt.callbacks.mlflow.callback import MlflowCallback
from mixopt.callbacks.mlflow.sender import send_pending
from mixopt.callbacks.mlflow.store_creation import ensure_store
from mixopt.config.loader import load_study


@pytest.fixture
def unmade(store, tmp_path):
    path = tmp_path / "new" / "mlflow.db"
    path.parent.mkdir()
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    return path


def test_a_kill_while_the_store_is_made_leaves_none(unmade, tmp_path, monkeypatch):
    """MLflow's migrations, cut off after the first tables, would make every later run fail."""

    def be_killed(engine):
        raise SystemExit("killed")

    with monkeypatch.context() as dying:
        dying.setattr("mlflow.store.db.utils._upgrade_db", be_killed)
        with pytest.raises(SystemExit):
            ensure_store(f"sqlite:///{unmade}")
    assert list(unmade.parent.iterdir()) == []
    tracker = MlflowCallback("run")
    tracker.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path / "out")
    tracker.on_study_end(None)
    send_pending(tmp_path / "out")
    client = mlflow.MlflowClient(f"sqlite:///{unmade}")
    runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert [path.name for path in unmade.parent.iterdir()] == ["mlflow.db"]


def test_a_store_that_exists_stays(store, tmp_path, monkeypatch):
    experiment = store.create_experiment("mine")
    monkeypatch.setattr("mixopt.callbacks.mlflow.store_creation.MlflowClient", None)
    ensure_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert store.get_experiment(experiment).name == "mine"
    for uri in ("http://127.0.0.1:1", f"file://{tmp_path}/runs", f"sqlite:///{tmp_path}/no/x.db"):
        ensure_store(uri)
