import numpy as np
import pandas as pd
import pytest
from calling import call

from mixopt import Mixture, read_trials


def test_design_before_any_run(tmp_path):
    printed = call("design", "--domains", "web:news,web:wiki,code", "-n", "6", "--upper", "code=0.5",
                "-o", tmp_path / "runs.csv")  # fmt: skip
    assert "runs.csv" in printed
    table = pd.read_csv(tmp_path / "runs.csv")
    assert list(table.columns) == ["run", "web:news", "web:wiki", "code"]
    ratios = table.drop(columns="run").to_numpy()
    assert np.allclose(ratios.sum(1), 1)
    assert (ratios[:, 2] <= 0.5 + 1e-6).all()
    assert np.allclose(ratios[0], 1 / 3, atol=1e-5)  # the uniform mixture first
    again = call("design", "--domains", "web:news,web:wiki,code", "-n", "6", "--upper", "code=0.5")
    assert again == (tmp_path / "runs.csv").read_text()


@pytest.mark.parametrize("method", ["d-optimal", "maximin", "sequential"])
def test_design_goes_on_from_a_table(tables, tmp_path, method):
    printed = call("design", "--ratios", tables[0], "--metrics", tables[1], "-n", "3",
                "--method", method, "-o", tmp_path / "more.csv")  # fmt: skip
    assert "Written" in printed
    table = pd.read_csv(tmp_path / "more.csv")
    assert table["run"].tolist() == ["run-008", "run-009", "run-010"]


def test_names_with_commas_and_quotes_are_quoted(tmp_path):
    (tmp_path / "n.yaml").write_text("{'web, \"new\"': 0.5, code: 0.5}")
    call("design", "--natural", tmp_path / "n.yaml", "-n", "3", "-o", tmp_path / "r.csv")
    assert list(pd.read_csv(tmp_path / "r.csv").columns) == ["run", 'web, "new"', "code"]


def test_the_table_that_design_writes_is_read_back(tmp_path):
    call("design", "--domains", "a,b", "-n", "6", "-o", tmp_path / "r.csv")
    metrics = pd.DataFrame({"run": [f"run-{i:03d}" for i in range(6)], "loss": range(6)})
    assert len(read_trials(ratios=tmp_path / "r.csv", metrics=metrics)) == 6


def test_rows_of_many_domains_sum_to_one(tmp_path):
    names = [f"d{i:03d}" for i in range(300)]
    call("design", "--domains", ",".join(names), "-n", "2", "-o", tmp_path / "r.csv")
    for row in pd.read_csv(tmp_path / "r.csv", index_col="run").to_dict("records"):
        assert sum(Mixture(row).values()) == pytest.approx(1, abs=1e-12)


def test_fidelities_of_the_config_reach_design_and_advice(tables, tmp_path):
    both = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), on="run")
    both = pd.concat([both, both.assign(run=both["run"] + 8, val_loss=both["val_loss"] + 1)])
    both["fidelity"] = ["small"] * 8 + ["large"] * 8
    both.to_csv(tmp_path / "runs.csv", index=False)
    given = ("--runs", tmp_path / "runs.csv", "--domains", " web, code ")
    printed = call("design", *given, "-n", "2", "--method", "sequential", code=2)
    assert "neither size, cost nor kind orders them" in printed
    (tmp_path / "r.yaml").write_text("fidelities: [small, large]\n")
    given = (*given, "--recipe", tmp_path / "r.yaml")
    printed = call("design", *given, "-n", "2", "--method", "sequential")
    assert [line.split(",")[0] for line in printed.splitlines()[-2:]] == ["run-016", "run-017"]
    assert "8 large runs are too few" in call("design", *given, "--advise", code=2)


def test_names_of_runs_that_are_taken_are_not_given_again(tables, tmp_path):
    ratios, metrics = (pd.read_csv(table) for table in tables)
    for frame, name in ((ratios, "r.csv"), (metrics, "m.csv")):
        frame["run"] = [f"run-{i:03d}" for i in range(1, 9)]  # run-000 was lost
        frame.to_csv(tmp_path / name, index=False)
    printed = call(
        "design", "--ratios", tmp_path / "r.csv", "--metrics", tmp_path / "m.csv", "-n", "2"
    )
    assert [line.split(",")[0] for line in printed.splitlines()[-2:]] == ["run-009", "run-010"]


def test_a_folder_is_no_file_to_write(tmp_path):
    printed = call("design", "--domains", "a,b", "-n", "3", "-o", tmp_path, code=2)
    assert f"File '{tmp_path}' is a directory" in printed
