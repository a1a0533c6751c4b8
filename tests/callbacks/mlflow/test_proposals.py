import subprocess
import sys

import pytest
import toy

import mixopt
from mixopt import Estimate, Mixture, Proposal
from mixopt.callbacks.mlflow.callback import MlflowCallback
from mixopt.callbacks.mlflow.proposals import read_mlflow_proposal
from mixopt.callbacks.mlflow.runs import log_proposals
from mixopt.config.loader import load_study
from mixopt.errors import ExportError, UserError

PROPOSAL = Proposal(Mixture({"birds": 0.75, "ships": 0.25}), Estimate(0.5, 0.1), {}, ())


@pytest.fixture
def logged(store, tmp_path):
    """MLflow's run of a study with a proposal and one model."""
    callback = MlflowCallback("run")
    callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path)
    callback.on_file_written(PROPOSAL.write(tmp_path / "proposal.json"))
    callback.on_proposals([PROPOSAL])
    callback.on_study_end(None)
    (run,) = store.search_runs([store.get_experiment_by_name("toy").experiment_id])
    return run


def test_a_proposal_is_loaded_by_its_run(logged, store):
    assert Proposal.from_mlflow(logged.info.run_id) == PROPOSAL
    assert mixopt.Proposal.from_mlflow(logged) == PROPOSAL


def test_the_store_may_be_named(logged, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(UserError, match=r"cannot be read \(.*fix the id, or the tracking URI"):
        Proposal.from_mlflow(logged.info.run_id)
    assert Proposal.from_mlflow(logged.info.run_id, "sqlite:///mlflow.db") == PROPOSAL


def test_a_run_without_a_proposal_is_an_error(store):
    run = store.create_run(store.create_experiment("x"))
    with pytest.raises(UserError, match="has no proposal; give the run of a study"):
        read_mlflow_proposal(run.info.run_id)


def test_an_artifact_that_is_no_proposal_or_is_gone(logged, store, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "proposal.json").write_text("{}")
    store.log_artifact(logged.info.run_id, str(tmp_path / "x" / "proposal.json"))
    with pytest.raises(ExportError, match="is not a proposal"):
        read_mlflow_proposal(logged.info.run_id)
    store.set_tag(logged.info.run_id, "mixopt.proposal", "gone.json")
    with pytest.raises(UserError, match="cannot be read"):
        read_mlflow_proposal(logged.info.run_id)


def test_a_proposal_from_a_table_is_loaded_too(store, tmp_path, monkeypatch):
    run = store.create_run(store.create_experiment("x")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run)
    log_proposals([PROPOSAL], [PROPOSAL.write(tmp_path / "proposal.json")])
    assert Proposal.from_mlflow(run) == PROPOSAL


def test_proposals_load_no_mlflow():
    code = "import sys, mixopt.proposal; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
