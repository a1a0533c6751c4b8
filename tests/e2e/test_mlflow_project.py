"""The MLflow project's entry points, run by MLflow from another folder."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import toy
import yaml
from calling import call
from mlflow.projects.backend import local
from mlflow.projects.submitted_run import LocalSubmittedRun
from mlflow.projects.utils import get_run_env_vars

ROOT = Path(__file__).parent.parent.parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # sqlalchemy's and alembic's own, not ours
]


def run_project(folder, entry_point, **parameters):
    scripts = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        env.pop(name, None)  # what tests of the tracker leave in the process
    env["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    command = ["mlflow", "run", str(ROOT), "-e", entry_point, "--env-manager=local",
               "--experiment-name", "toy"]  # fmt: skip
    for name, value in parameters.items():
        command += ["-P", f"{name}={value}"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


class Finished:
    """What MLflow asks of the process of an entry point."""

    def wait(self):
        return 0


@pytest.fixture
def run_here(tmp_path, monkeypatch):
    """As `mlflow run`, but with the command line of the entry point read by this process."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    # as `fail_fast` sets them, and undone after the test
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(None)

    def execute(command, work_dir, experiment_id, run_id):
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "mixopt"]
        with monkeypatch.context() as patch:
            patch.chdir(work_dir)
            for name, value in get_run_env_vars(run_id, experiment_id).items():
                patch.setenv(name, value)
            call(*words[3:])
        return LocalSubmittedRun(run_id, Finished())

    monkeypatch.setattr(local, "_run_entry_point", execute)

    def run(entry_point, **parameters):
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            mlflow.projects.run(
                str(ROOT), entry_point, parameters={n: str(v) for n, v in parameters.items()},
                experiment_name="toy", env_manager="local",
            )  # fmt: skip

    yield run
    mlflow.set_tracking_uri(None)


def test_every_entry_point_from_another_folder(tmp_path, run_here):
    """One by `mlflow run` itself; it would start every other in the same way."""
    study = toy.write_study(tmp_path / "my study", validation={"mixtures": 4, "seeds": 1})
    out = tmp_path / "out put"  # spaces, because people have them
    of_study = {"study": study, "output": out, "device": "cpu"}
    for entry_point in ("train", "search", "propose", "validate"):
        run_here(entry_point, **of_study)
    run_project(tmp_path, "run", **of_study)
    run_here("report", **of_study)
    run_here("export", proposal=out / "proposal.json", format="megatron",
             out=tmp_path / "blend.txt", path="/d/{domain}")  # fmt: skip
    assert "/d/birds" in (tmp_path / "blend.txt").read_text()

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("toy")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    whole = next(run for run in runs if run.data.tags.get("mixopt.verb") == "run")
    artifacts = {a.path for a in client.list_artifacts(whole.info.run_id)}
    assert {"report.html", "figures", "exports", "proposal.json", "trials.csv", "validation.json",
            "recipe.yaml"} <= artifacts  # fmt: skip
    assert -1 <= whole.data.metrics["fidelity/merged/overall"] <= 1
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == whole.info.run_id]
    assert sorted(r.data.tags["mixopt.kind"] for r in children) == (
        ["base"] + ["expert"] * 3 + ["proxy run"] * 4
    )


def test_a_table_from_its_design_to_a_tracked_proposal(tmp_path, run_here):
    run_here("design", domains="web,code", runs="8", out=tmp_path / "ratios.csv")
    table = pd.read_csv(tmp_path / "ratios.csv")
    table["val_loss"] = (table["web"] - 0.6) ** 2
    table[["run", "val_loss"]].to_csv(tmp_path / "metrics.csv", index=False)
    run_here("propose_from_table", ratios=tmp_path / "ratios.csv",
             metrics=tmp_path / "metrics.csv", output=tmp_path / "out")  # fmt: skip
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    tracked = next(run for run in runs if run.data.tags.get("mixopt.verb") == "propose")
    assert 0.4 < tracked.data.metrics["proposal/ratio/web"] < 0.8
    assert [a.path for a in client.list_artifacts(tracked.info.run_id)] == [
        "proposal.json",
        "report.html",
    ]


def test_main_is_the_quickstart_and_the_file_says_what_it_says():
    project = yaml.safe_load((ROOT / "MLproject").read_text())
    assert set(project["entry_points"]) == {
        "main", "run", "train", "search", "propose", "propose_from_table", "design", "validate",
        "spend", "export", "report",
    }  # fmt: skip
    assert "run quickstart" in project["entry_points"]["main"]["command"]


def test_propose_takes_one_table_or_an_experiment(run_here, tmp_path):
    rows = [(0.1, 0.9), (0.2, 0.8), (0.3, 0.7), (0.5, 0.5), (0.6, 0.4), (0.7, 0.3), (0.9, 0.1)]
    frame = pd.DataFrame(rows, columns=["ratio/code", "ratio/web"])  # MLflow's come by name
    frame.insert(0, "run", range(len(rows)))
    frame["val_loss"] = [(web - 0.6) ** 2 + 1 for _, web in rows]
    frame.to_csv(tmp_path / "runs.csv", index=False)
    run_here("propose", runs="runs.csv", output=tmp_path / "out")
    assert (tmp_path / "out" / "proposal.json").is_file()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("swarm")
    client.set_terminated(client.create_run(experiment).info.run_id)  # the parent of the sweep
    for _, row in frame.iterrows():
        run = client.create_run(experiment).info.run_id
        for name in ("ratio/web", "ratio/code"):
            client.log_param(run, name, row[name])
        client.log_metric(run, "val_loss", row["val_loss"])
        client.set_terminated(run)
    run_here("propose", experiment="swarm", output=tmp_path / "from-mlflow")
    ratios = [
        json.loads((tmp_path / name / "proposal.json").read_text())["decision"]["candidate"]
        for name in ("out", "from-mlflow")
    ]
    assert ratios[0] == pytest.approx(ratios[1], abs=1e-3)
