import mlflow
import pandas as pd
import pytest
import toy

from mixopt import Estimate, Metric, Mixture, Proposal, Score, Trial, Trials
from mixopt.callbacks.base import DomainCount, RoundResult, TrainedModel
from mixopt.callbacks.mlflow.callback import MlflowCallback
from mixopt.config.loader import load_study
from mixopt.errors import UserError
from mixopt.proposal import Comparison


def test_a_study_is_an_experiment_with_parent_children_and_artifacts(store, tmp_path):
    callback = MlflowCallback("run")
    callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path)
    callback.on_domains_counted([DomainCount("birds", 10, 2, 10, "abc")])
    callback.on_model_trained(
        TrainedModel(
            "expert", "birds", {"learning_rate": "0.1"}, {"tokens": 5.0}, [(1, 3.0), (2, 2.0)]
        )
    )
    callback.on_model_trained(TrainedModel("expert", "ships", failure="diverged at step 3"))
    trial = Trial("r1", Mixture({"birds": 1.0}), {"loss": Score(2.0)})
    callback.on_round_scored(
        RoundResult(
            1, Trials([trial], [Metric("loss")], ["birds"]), 1, 0.5,
            {"loss": 0.25, "other": float("nan")}, {"loss": 0.75},
        )
    )  # fmt: skip
    natural = Comparison("natural", Mixture({"birds": 1.0}), Estimate(0.2, 0.1))
    callback.on_proposals([Proposal(Mixture({"birds": 1.0}), Estimate(0, 0), {}, (natural,))])
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "a.txt").write_text("x")
    callback.on_file_written(tmp_path / "exports")
    callback.on_study_end(None)

    experiment = store.get_experiment_by_name("toy")
    runs = store.search_runs([experiment.experiment_id])
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["base.kind"] == "build"
    assert parent.data.metrics["proposal/gain_over_natural"] == 0.2
    rounds = {key: value for key, value in parent.data.metrics.items() if "proposal" not in key}
    assert rounds == {
        "corpus/tokens/birds": 10, "search/trials": 1, "search/best_utility": 0.5,
        "surrogate/cv_rank/loss": 0.25, "reliability/loss": 0.75,
    }  # fmt: skip
    assert [d.dataset.name for d in parent.inputs.dataset_inputs] == ["birds"]
    assert {run.info.status for run in children} == {"FINISHED", "FAILED"}
    expert = next(run for run in children if run.info.status == "FINISHED")
    assert [m.value for m in store.get_metric_history(expert.info.run_id, "loss")] == [3.0, 2.0]
    artifacts = {a.path for a in store.list_artifacts(parent.info.run_id)}
    assert {"recipe.yaml", "trials.csv", "exports", "domains.json"} <= artifacts
    table = mlflow.artifacts.download_artifacts(
        run_id=parent.info.run_id, artifact_path="trials.csv"
    )
    assert pd.read_csv(table)["score/loss"].tolist() == [2.0]


def test_a_failed_verb_is_a_failed_run(store, tmp_path):
    callback = MlflowCallback("search")
    callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path)
    callback.on_study_end(RuntimeError("no"))
    experiment = store.get_experiment_by_name("toy")
    assert store.search_runs([experiment.experiment_id])[0].info.status == "FAILED"


def test_inside_mlflow_run_it_attaches_to_that_run(store, tmp_path, monkeypatch):
    experiment = store.create_experiment("given")
    run = store.create_run(experiment)
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    callback = MlflowCallback("run")
    callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path)
    callback.on_study_end(None)
    assert [r.info.run_id for r in store.search_runs([experiment])] == [run.info.run_id]
    assert store.get_run(run.info.run_id).data.tags["mixopt.study"] == "toy"


def test_store_that_cannot_be_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://x")
    mlflow.set_tracking_uri("nonsense://x")
    with pytest.raises(UserError, match="fix MLFLOW_TRACKING_URI"):
        MlflowCallback("run").on_study_start(load_study(toy.write_study(tmp_path)), tmp_path)


def test_a_stopped_verb_is_a_killed_run(store, tmp_path):
    callback = MlflowCallback("search")
    callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path)
    callback.on_study_end(KeyboardInterrupt())
    experiment = store.get_experiment_by_name("toy")
    assert store.search_runs([experiment.experiment_id])[0].info.status == "KILLED"
