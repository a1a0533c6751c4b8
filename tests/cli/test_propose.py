import numpy as np
import pandas as pd
import pytest
from calling import call

from mixopt import read_trials
from mixopt.proposal import Proposal


def test_propose_from_tables(tables, tmp_path):
    told = call("propose", "--ratios", tables[0], "--metrics", tables[1], "-o", tmp_path / "out",
                "--upper", "web=0.55")  # fmt: skip
    assert "mean of the runs stands for the natural mixture" in told
    proposal = Proposal.read(tmp_path / "out" / "proposal.json")
    assert 0.4 < proposal.ratios["web"] <= 0.55 + 1e-9
    assert "natural mixture" in told
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Data mixture for a" in page  # the table's name
    assert "may be" in page


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("web: abc\n", "the ratio of 'web' is 'abc', not a number"),
        ("web: [1\n", "not valid YAML"),
        ("web: 0.2\ncode: 0.2\n", "sum to 0.4"),
        ("wob: 1.0\n", "'wob' is not one of"),
    ],
)
def test_natural_file_that_cannot_be_used(tables, tmp_path, content, words):
    (tmp_path / "n.yaml").write_text(content)
    told = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--natural", tmp_path / "n.yaml", code=2)  # fmt: skip
    assert words in told
    assert told.count("\n") == 1


def test_output_that_is_a_file(tables, tmp_path):
    (tmp_path / "file").write_text("x")
    told = call(
        "propose", "--ratios", tables[0], "--metrics", tables[1], "-o", tmp_path / "file", code=2
    )
    assert "cannot be written" in told
    assert (tmp_path / "file").read_text() == "x"


def test_direction_by_metric_from_the_shell(tables, tmp_path):
    metrics = pd.read_csv(tables[1]).rename(columns={"val_loss": "mystery"})
    metrics["mystery"] /= 100
    metrics.to_csv(tables[1], index=False)
    call("propose", "--ratios", tables[0], "--metrics", tables[1], code=2)
    told = call(
        "propose", "--ratios", tables[0], "--metrics", tables[1], "--better", "mystery=lower"
    )
    assert "Proposal" in told


RECIPE = """
natural: {web: 0.5, code: 0.5}
target: val_loss
upper: {web: 0.58}
no_worse: {than: natural, tolerance: 0.01, probability: 0.8}
budget:
  tokens: 1.0e12
  available_tokens: {web: 1.0e11}
  max_repetition: 6
error_laws:
  val_loss: {epsilon: 0.85, k: 2.1, gamma: 0.75}
"""


def test_a_recipe_says_limits_budget_and_guard(tables, tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    told = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml", "-o", tmp_path)  # fmt: skip
    proposal = Proposal.read(tmp_path / "proposal.json")
    assert proposal.ratios["web"] <= 0.58 + 1e-9
    assert set(proposal.errors) == {"val_loss"}
    assert "error of val_loss" in told
    assert proposal.ties is not None
    assert proposal.support.nearest in {str(i) for i in range(8)}


def test_unknown_field_of_a_recipe(tables, tmp_path):
    (tmp_path / "r.yaml").write_text("targt: average\n")
    told = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml", code=2)  # fmt: skip
    assert "Did you mean 'target'" in told
    assert told.count("\n") == 1


def test_runs_in_one_table(tables, tmp_path):
    both = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), on="run")
    both.to_parquet(tmp_path / "runs.parquet")
    told = call("propose", "--runs", tmp_path / "runs.parquet", "--domains", "web,code")
    assert "Proposal" in told
    assert "nearest run" in told


@pytest.mark.filterwarnings("ignore")  # sqlalchemy's and alembic's own, not ours
def test_runs_of_an_mlflow_experiment(tables, tmp_path, monkeypatch):
    import mlflow

    uri = f"sqlite:///{tmp_path}/m.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = mlflow.MlflowClient(uri)  # the fluent calls leave their experiment in the environment
    experiment = client.create_experiment("swarm")
    both = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), on="run")
    for _, row in both.iterrows():
        run = client.create_run(experiment).info.run_id
        for name, value in {"ratio/web": row["web"], "ratio/code": row["code"], "lr": "x"}.items():
            client.log_param(run, name, value)
        client.log_metric(run, "val_loss", row["val_loss"])
        client.set_terminated(run)
    told = call("propose", "--mlflow", "swarm")
    assert "Fitted 1 metrics on 8 runs" in told
    assert "no experiment 'swarn'" in call("propose", "--mlflow", "swarn", code=2)


def test_design_before_any_run(tmp_path):
    told = call("design", "--domains", "web:news,web:wiki,code", "-n", "6", "--upper", "code=0.5",
                "-o", tmp_path / "runs.csv")  # fmt: skip
    assert "runs.csv" in told
    table = pd.read_csv(tmp_path / "runs.csv")
    assert list(table.columns) == ["run", "web:news", "web:wiki", "code"]
    ratios = table.drop(columns="run").to_numpy()
    assert np.allclose(ratios.sum(1), 1)
    assert (ratios[:, 2] <= 0.5 + 1e-6).all()
    assert np.allclose(ratios[0], 1 / 3, atol=1e-5)  # the natural mixture first
    again = call("design", "--domains", "web:news,web:wiki,code", "-n", "6", "--upper", "code=0.5")
    assert again == (tmp_path / "runs.csv").read_text()


@pytest.mark.parametrize("method", ["d-optimal", "maximin", "sequential"])
def test_design_goes_on_from_a_table(tables, tmp_path, method):
    told = call("design", "--ratios", tables[0], "--metrics", tables[1], "-n", "3",
                "--method", method, "-o", tmp_path / "more.csv")  # fmt: skip
    assert "Written" in told
    table = pd.read_csv(tmp_path / "more.csv")
    assert table["run"].tolist() == ["run-008", "run-009", "run-010"]


def test_advice_on_more_runs(tmp_path):
    rng = np.random.default_rng(0)
    web = rng.uniform(size=24)
    pd.DataFrame({"run": range(24), "web": web, "code": 1 - web}).to_csv(
        tmp_path / "r.csv", index=False
    )
    losses = (web - 0.6) ** 2 + 1 + 0.01 * rng.normal(size=24)
    pd.DataFrame({"run": range(24), "val_loss": losses}).to_csv(tmp_path / "m.csv", index=False)
    told = call(
        "design", "--advise", "--ratios", tmp_path / "r.csv", "--metrics", tmp_path / "m.csv"
    )
    assert [line.split()[0] for line in told.splitlines()[1:5]] == ["24", "32", "40", "56"]
    assert "32 more runs would cut the error" in told


def test_the_table_that_design_writes_is_read_back(tmp_path):
    call("design", "--domains", "a,b", "-n", "6", "-o", tmp_path / "r.csv")
    metrics = pd.DataFrame({"run": [f"run-{i:03d}" for i in range(6)], "loss": range(6)})
    assert len(read_trials(ratios=tmp_path / "r.csv", metrics=metrics)) == 6


def test_fidelities_of_the_recipe_reach_design_and_advice(tables, tmp_path):
    both = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), on="run")
    both = pd.concat([both, both.assign(run=both["run"] + 8, val_loss=both["val_loss"] + 1)])
    both["fidelity"] = ["small"] * 8 + ["large"] * 8
    both.to_csv(tmp_path / "runs.csv", index=False)
    given = ("--runs", tmp_path / "runs.csv", "--domains", " web, code ")
    told = call("design", *given, "-n", "2", "--method", "sequential", code=2)
    assert "nothing says which is dearer" in told
    (tmp_path / "r.yaml").write_text("fidelities: [small, large]\n")
    given = (*given, "--recipe", tmp_path / "r.yaml")
    told = call("design", *given, "-n", "2", "--method", "sequential")
    assert [line.split(",")[0] for line in told.splitlines()[-2:]] == ["run-016", "run-017"]
    assert "8 large runs are too few" in call("design", *given, "--advise", code=2)


def test_options_that_would_do_nothing_are_refused(tables, tmp_path):
    given = ("--ratios", tables[0], "--metrics", tables[1])
    for extra in (["-n", "3"], ["-o", tmp_path], ["--method", "maximin"], ["--lower", "web=0.9"]):
        assert "would do nothing" in call("design", *given, "--advise", *extra, code=2)
    assert "--target would do nothing" in call("design", *given, "-n", "3", "--target", "x", code=2)
    assert "--device would do nothing" in call("propose", *given, "--device", "cuda", code=2)
    told = call("design", "--domains", "a,b", "-n", "3", "--better", "lower", code=2)
    assert "--better would do nothing" in told
    assert "has an empty name" in call("design", "--domains", "a,,b", "-n", "3", code=2)
    (tmp_path / "r.yaml").write_text("max_kl: 0.1\n")
    told = call("design", "--domains", "a,b", "-n", "3", "--recipe", tmp_path / "r.yaml", code=2)
    assert "--natural" in told


def test_nearest_to_the_natural_mixture_is_the_natural_mixture(tables, tmp_path):
    (tmp_path / "r.yaml").write_text("natural: {web: 0.5, code: 0.5}\nmax_kl: 0\n")
    told = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml")  # fmt: skip
    assert "the same as the natural mixture\n" in told


def test_names_of_runs_that_are_taken_are_not_given_again(tables, tmp_path):
    ratios, metrics = (pd.read_csv(table) for table in tables)
    for frame, name in ((ratios, "r.csv"), (metrics, "m.csv")):
        frame["run"] = [f"run-{i:03d}" for i in range(1, 9)]  # run-000 was lost
        frame.to_csv(tmp_path / name, index=False)
    told = call(
        "design", "--ratios", tmp_path / "r.csv", "--metrics", tmp_path / "m.csv", "-n", "2"
    )
    assert [line.split(",")[0] for line in told.splitlines()[-2:]] == ["run-009", "run-010"]


def test_a_reference_given_by_its_ratios_is_compared_with(tables, tmp_path):
    (tmp_path / "r.yaml").write_text("reference: {web: 0.9, code: 0.1}\nmaximise: chance\n")
    told = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml", "-o", tmp_path)  # fmt: skip
    assert "the given mixture" in told
    proposal = Proposal.read(tmp_path / "proposal.json")
    assert [c.name for c in proposal.comparisons][-1] == "given"
    assert proposal.ratios["web"] < 0.8  # not the tiniest step away
