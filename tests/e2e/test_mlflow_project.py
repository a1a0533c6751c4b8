"""The MLflow project's entry points, run by MLflow itself from another folder."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import toy
import yaml

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.filterwarnings("ignore")  # sqlalchemy's and alembic's own, not ours


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


def test_every_entry_point_from_another_folder(tmp_path):
    study = toy.write_study(tmp_path / "my study", validation={"mixtures": 4, "seeds": 1})
    out = tmp_path / "out put"  # spaces, because people have them
    for entry_point in ("train", "search", "propose", "validate", "run", "report"):
        run_project(tmp_path, entry_point, study=study, output=out, device="cpu")
    run_project(tmp_path, "export", proposal=out / "proposal.json", format="megatron",
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
    assert whole.data.metrics["fidelity/merged/overall"] == pytest.approx(
        whole.data.metrics["fidelity/merged/overall"]
    )
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == whole.info.run_id]
    assert sorted(r.data.tags["mixopt.kind"] for r in children) == (
        ["base"] + ["expert"] * 3 + ["proxy run"] * 4
    )


def test_a_table_from_its_design_to_a_tracked_proposal(tmp_path):
    run_project(tmp_path, "design", domains="web,code", runs="8", out=tmp_path / "ratios.csv")
    table = pd.read_csv(tmp_path / "ratios.csv")
    table["val_loss"] = (table["web"] - 0.6) ** 2
    table[["run", "val_loss"]].to_csv(tmp_path / "metrics.csv", index=False)
    run_project(tmp_path, "propose_from_table", ratios=tmp_path / "ratios.csv",
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
        "export", "report",
    }  # fmt: skip
    assert "run quickstart" in project["entry_points"]["main"]["command"]
