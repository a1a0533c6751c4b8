from pathlib import Path

import mlflow
import pytest
import toy

from mixopt import Estimate, Metric, Mixture, Proposal, Score, Trial, Trials
from mixopt.callbacks.base import DomainCount, RoundResult, TrainedModel
from mixopt.callbacks.mlflow.callback import MlflowCallback
from mixopt.callbacks.mlflow.queue import RecordQueue
from mixopt.callbacks.mlflow.sender import FOLDER, send_pending
from mixopt.comparison import Comparison
from mixopt.config.loader import load_study
from mixopt.errors import UserError
from mixopt.io.files import write_text


def test_a_study_is_an_experiment_with_parent_children_and_artifacts(store, tmp_path):
    callback = MlflowCallback("run")
    callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path)
    callback.on_domains_counted([DomainCount("birds", 10, 2, 10, "abc")])
    callback.on_model_trained(
        TrainedModel(
            "expert", "birds", {"learning_rate": "0.1"}, {"tokens": 5.0}, [(1, 3.0), (2, 2.0)],
            role="vertex", ratios={"birds": 1.0, "ships": 0.0}, seed=0,
        )
    )  # fmt: skip
    callback.on_model_trained(TrainedModel("expert", "ships", failure="diverged at step 3"))
    trial = Trial("r1", Mixture({"birds": 1.0}), {"loss": Score(2.0)})
    callback.on_round_scored(
        RoundResult(
            1, Trials([trial], [Metric("loss")], ["birds"]), 1, 0.5,
            {"loss": 0.25, "other": float("nan")}, {"loss": 0.75},
        )
    )  # fmt: skip
    callback.on_model_scored("expert", "birds", {"loss": Score(2.5, 0.25)})
    callback.on_model_scored("expert", "given", {"loss": Score(2.5)})  # was not trained here
    natural = Comparison("natural", Mixture({"birds": 1.0}), Estimate(0.2, 0.1))
    proposal = Proposal(Mixture({"birds": 1.0}), Estimate(0, 0), {}, (natural,))
    callback.on_proposals([proposal])
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
    assert proposal.verdict
    assert parent.data.tags["mixopt.verdict"] == proposal.verdict
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
    assert {"recipe.yaml", "trials.json", "exports", "domains.json"} <= artifacts
    table = store.load_table(experiment.experiment_id, "trials.json", [parent.info.run_id])
    assert table["score/loss"].tolist() == [2.0]
    assert parent.info.run_name == "toy"
    assert parent.data.params["recommended/birds"] == "1"
    assert "Lower is better: `score/loss`." in parent.data.tags["mlflow.note.content"]
    assert expert.data.params["role"] == "vertex"
    assert expert.data.params["seed"] == "0"
    assert expert.data.params["ratio/birds"] == "1"
    assert expert.data.params["ratio/ships"] == "0"
    assert expert.data.metrics["score/loss"] == 2.5
    assert expert.data.metrics["std_error/loss"] == 0.25


def test_scores_of_a_run_are_kept_at_each_of_its_lengths(store, tmp_path):
    callback = MlflowCallback("run")
    callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path)
    scores = {1000: {"loss": Score(3.0)}, 4000: {"loss": Score(2.0, float("nan"))}}
    callback.on_model_trained(TrainedModel("run", "natural-0", role="natural", scores=scores))
    callback.on_study_end(None)
    experiment = store.get_experiment_by_name("toy").experiment_id
    (run,) = store.search_runs([experiment], "params.role = 'natural'")
    assert run.data.metrics == {"score/loss": 2.0}
    points = store.get_metric_history(run.info.run_id, "score/loss")
    assert [(point.step, point.value) for point in points] == [(1000, 3.0), (4000, 2.0)]


def test_three_hundred_domains_with_any_names(store, tmp_path):
    names = [f"d{i}" for i in range(296)] + ["[bold]x[/]", "a\u202eb", "a\u202fb", "w" * 200]
    callback = MlflowCallback("run")
    callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path)
    ratios = dict.fromkeys(names, 1 / 300)
    callback.on_model_trained(TrainedModel("run", "x", role="candidate", ratios=ratios))
    callback.on_study_end(None)
    experiment = store.get_experiment_by_name("toy").experiment_id
    (run,) = store.search_runs([experiment], "params.role = 'candidate'")
    params = {key for key in run.data.params if key.startswith("ratio/")}
    assert len(params) == 300
    assert {"ratio/_bold_x_/_", "ratio/a_b", "ratio/a_b_2", f"ratio/{'w' * 200}"} <= params


def test_system_metrics_are_logged_where_the_study_asks_for_them(store, tmp_path):
    for name, tracking in (("off", {}), ("on", {"system_metrics": True})):
        callback = MlflowCallback("run")
        path = toy.write_study(tmp_path / name, name=name, tracking=tracking)
        callback.on_study_start(load_study(path), tmp_path)
        callback.on_study_end(None)
        experiment = store.get_experiment_by_name(name).experiment_id
        (run,) = store.search_runs([experiment])
        found = {key for key in run.data.metrics if key.startswith("system/")}
        assert ("system/cpu_utilization_percentage" in found) == (name == "on")


def test_a_run_gets_the_files_of_its_own_command(store, tmp_path):
    """What waited for a server was sent as a later command had written it."""
    uri = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    for text in ("older", "newer"):
        callback = MlflowCallback("report")
        callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path)
        write_text(tmp_path / "report.html", text)
        callback.on_file_written(tmp_path / "report.html")
        callback.on_study_end(None)
    mlflow.set_tracking_uri(uri)
    for queue in RecordQueue.list_in(tmp_path / FOLDER):  # they were made for the other address
        lines = queue.path.read_text().replace("http://127.0.0.1:9", uri)
        queue.path.write_text(lines)
    send_pending(tmp_path)
    runs = store.search_runs([store.get_experiment_by_name("toy").experiment_id],
                             order_by=["start_time"])  # fmt: skip
    found = [
        Path(store.download_artifacts(run.info.run_id, "report.html")).read_text() for run in runs
    ]
    assert found == ["older", "newer"]
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_only_a_run_with_a_proposal_says_that_it_has_one(store, tmp_path):
    """One that finds the proposal of an earlier command writes none."""
    proposal = Proposal(Mixture({"birds": 1.0}), Estimate(0, 0), {})
    for written in (False, True):
        callback = MlflowCallback("run")
        callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), tmp_path)
        if written:
            callback.on_file_written(proposal.write(tmp_path / "proposal.json"))
        callback.on_proposals([proposal])
        callback.on_study_end(None)
    runs = store.search_runs([store.get_experiment_by_name("toy").experiment_id],
                             order_by=["start_time"])  # fmt: skip
    assert [run.data.tags.get("mixopt.proposal") for run in runs] == [None, "proposal.json"]


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
    assert store.get_run(run.info.run_id).info.run_name == "toy"


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


def test_a_study_that_could_not_start_is_tracked_the_next_time(store, tmp_path):
    callback, config = MlflowCallback("run"), load_study(toy.write_study(tmp_path / "s"))
    experiment = store.create_experiment("toy")
    store.delete_experiment(experiment)
    with pytest.raises(UserError, match="was deleted; restore it"):
        callback.on_study_start(config, tmp_path)
    store.restore_experiment(experiment)
    callback.on_study_start(config, tmp_path)
    callback.on_study_end(None)
    (run,) = store.search_runs([experiment])
    assert run.info.status == "FINISHED"


def test_the_command_that_sends_what_waits_takes_a_folder_with_spaces(store, tmp_path, caplog):
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    callback, out = MlflowCallback("run"), tmp_path / "my out"
    callback.on_study_start(load_study(toy.write_study(tmp_path / "s")), out)
    callback.on_study_end(None)
    assert f"send them with: mixopt sync '{out}'" in caplog.text
