import click
import pandas as pd
import pytest
from calling import call

from mixopt.cli.table_options import read_config, split_names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("web: abc\n", "the ratio of 'web' is 'abc', not a number"),
        ("web: [1\n", "not valid YAML"),
        ("web: 0.2\ncode: 0.2\n", "sum to 0.4"),
        ("wob: 1.0\n", "'wob' is not one of"),
        ("web: true\ncode: 0\n", "the ratio of 'web' is True, not a number"),
    ],
)
def test_natural_file_that_cannot_be_used(tables, tmp_path, content, words):
    (tmp_path / "n.yaml").write_text(content)
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--natural", tmp_path / "n.yaml", code=2)  # fmt: skip
    assert words in printed
    assert printed.count("\n") == 1


def test_direction_by_metric_from_the_shell(tables, tmp_path):
    metrics = pd.read_csv(tables[1]).rename(columns={"val_loss": "mystery"})
    metrics["mystery"] /= 100
    metrics.to_csv(tables[1], index=False)
    call("propose", "--ratios", tables[0], "--metrics", tables[1], code=2)
    printed = call(
        "propose", "--ratios", tables[0], "--metrics", tables[1], "--better", "mystery=lower"
    )
    assert "likely to be better" in printed


def test_unknown_field_of_a_config(tables, tmp_path):
    (tmp_path / "r.yaml").write_text("targt: average\n")
    printed = call("propose", "--ratios", tables[0], "--metrics", tables[1],
                "--recipe", tmp_path / "r.yaml", code=2)  # fmt: skip
    assert "Did you mean 'target'" in printed
    assert printed.count("\n") == 1


def test_runs_in_one_table(tables, tmp_path):
    both = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), on="run")
    both.to_parquet(tmp_path / "runs.parquet")
    printed = call("propose", "--runs", tmp_path / "runs.parquet", "--domains", "web,code", "-v")
    assert "likely to be better" in printed
    assert "nearest run" in printed


@pytest.mark.filterwarnings("ignore")  # sqlalchemy's and alembic's own, not ours
def test_runs_of_an_mlflow_experiment(tables, tmp_path, monkeypatch):
    import mlflow

    uri = f"sqlite:///{tmp_path}/m.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = mlflow.MlflowClient(uri)  # the fluent calls leave their experiment in the environment
    experiment = client.create_experiment("team/swarm.v2")
    both = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), on="run")
    for _, row in both.iterrows():
        run = client.create_run(experiment).info.run_id
        for name, value in {"ratio/web": row["web"], "ratio/code": row["code"], "lr": "x"}.items():
            client.log_param(run, name, value)
        client.log_metric(run, "val_loss", row["val_loss"])
        client.set_terminated(run)
    printed = call("propose", "--mlflow", "team/swarm.v2", "-o", tmp_path / "my out")
    assert "Fitted 1 metrics on 8 runs" in printed
    assert f"mixopt export '{tmp_path}/my out/proposal.json' -f" in printed
    page = (tmp_path / "my out" / "report.html").read_text()
    assert "<title>mixopt: team/swarm.v2</title>" in page
    assert "no experiment 'swarn'" in call("propose", "--mlflow", "swarn", code=2)


def test_options_that_would_do_nothing_are_refused(tables, tmp_path):
    given = ("--ratios", tables[0], "--metrics", tables[1])
    for extra in (
        ["-n", "3"],
        ["-o", tmp_path / "r.csv"],
        ["--method", "maximin"],
        ["--lower", "web=0.9"],
    ):
        assert "would do nothing" in call("design", *given, "--advise", *extra, code=2)
    assert "--target would do nothing" in call("design", *given, "-n", "3", "--target", "x", code=2)
    assert "--device would do nothing" in call("propose", *given, "--device", "cuda", code=2)
    printed = call("design", "--domains", "a,b", "-n", "3", "--better", "lower", code=2)
    assert "--better would do nothing" in printed
    assert "has an empty name" in call("design", "--domains", "a,,b", "-n", "3", code=2)
    (tmp_path / "r.yaml").write_text("max_kl: 0.1\n")
    printed = call("design", "--domains", "a,b", "-n", "3", "--recipe", tmp_path / "r.yaml", code=2)
    assert "--natural" in printed


def test_metrics_and_ids_by_hand(tables, tmp_path):
    both = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), on="run")
    both = both.rename(columns={"run": "mine"}).assign(mystery=both["val_loss"] / 100)
    both.to_csv(tmp_path / "runs.csv", index=False)
    command = ("propose", "--runs", tmp_path / "runs.csv", "--domains", "web,code")
    assert "'mystery'" in call(*command, "--id", "mine", code=2)
    assert "no column 'mime' that names its runs" in call(*command, "--id", "mime", code=2)
    assert "likely to be better" in call(*command, "--id", "mine", "--metrics", "val_loss")
    assert "no metric 'val_los'" in call(*command, "--id", "mine", "--metrics", "val_los", code=2)


def test_fidelities_from_the_shell(tables, tmp_path, caplog):
    both = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), on="run")
    both = both.rename(columns={"web": "ratio/web", "code": "ratio/code"})
    large = both.assign(model="large", val_loss=both["val_loss"] - 1)
    frame = pd.concat([large, both.assign(model="small")])
    frame.to_csv(tmp_path / "runs.csv", index=False)
    command = ("propose", "--runs", tmp_path / "runs.csv")
    assert "--fidelities large,small" in call(*command, code=2)
    printed = call(*command, "--fidelities", "small,large")
    assert "Fitted 1 metrics on 8 large runs" in printed
    assert "With 8 small runs" in printed
    call(*command, "--fidelities", "small")
    assert "8 trials of fidelity 'large' are left out" in caplog.text
    assert "an empty name" in call(*command, "--fidelities", "small,", code=2)
    printed = call("design", "--domains", "a,b", "-n", "3", "--fidelities", "x", code=2)
    assert "--fidelities would do nothing" in printed


def test_natural_as_tokens_or_percent_and_a_step(tables, tmp_path, caplog):
    caplog.set_level("INFO")
    given = ("propose", "--ratios", tables[0], "--metrics", tables[1])
    (tmp_path / "n.yaml").write_text("web: 6.0e9\ncode: 4.0e9\n")
    counted = call(*given, "--natural", tmp_path / "n.yaml")
    assert "amounts (tokens or percent) that sum to 1e+10 are divided by their sum" in caplog.text
    (tmp_path / "n.yaml").write_text("web: 0.6\ncode: 0.4\n")
    assert call(*given, "--natural", tmp_path / "n.yaml") == counted
    assert "no row of step 5" in call(*given, "--step", "5", code=2)


def test_two_tables_of_the_same_are_refused(tables, tmp_path):
    printed = call("propose", "--runs", tables[0], "--mlflow", "swarm", code=2)
    assert "--mlflow and --runs are two tables of the same; give one of them" in printed


def test_results_are_named_by_the_table_and_not_by_its_metrics(tables, tmp_path):
    both = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), on="run")
    both.assign(acc=1 - both["val_loss"] / 100).to_csv(tmp_path / "runs.csv", index=False)
    call("propose", "--runs", tmp_path / "runs.csv", "--domains", "web,code",
         "--metrics", "val_loss,acc", "-o", tmp_path / "out")  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text()
    assert "val_loss,acc" not in page
    assert "runs.csv" in page


def test_domains_of_a_natural_file_are_text(tmp_path):
    """`no` is Norwegian, and rounded ratios are divided by their sum."""
    (tmp_path / "n.yaml").write_text("no: .33\nda: .33\nsv: .33\n")
    printed = call("design", "--natural", tmp_path / "n.yaml", "-n", "3")
    assert printed.startswith("run,no,da,sv\n")


def test_a_direction_of_the_metrics_that_are_not_named(tables, tmp_path):
    both = pd.read_csv(tables[0]).merge(pd.read_csv(tables[1]), on="run")
    both = both.rename(columns={"val_loss": "eval/mystery"}).assign(
        **{"eval/acc": both["val_loss"]}
    )
    both.to_csv(tmp_path / "runs.csv", index=False)
    given = ("propose", "--runs", tmp_path / "runs.csv", "--domains", "web,code", "-v")
    printed = call(
        *given, "--better", "lower", "--better", "eval/acc=lower", "--holdout", "eval/acc"
    )
    assert "likely to be better" in printed
    printed = call(*given, "--better", "lower", "--better", "higher", code=2)
    assert "--better lower and --better higher are both given" in printed


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("n.yaml", "web: 60%\ncode: 40%\n"),
        ("n.yaml", "web: 6.0e9\ncode: 4e9\n"),
        ("n.csv", "domain,ratio\nweb,0.6\ncode,0.4\n"),
        ("n.json", '{"ratios": {"web": 60, "code": 40}}'),
    ],
)
def test_natural_in_the_forms_of_an_export(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    options = {"recipe": None, "lower": (), "upper": (), "fidelities": None, "target": None}
    config = read_config({**options, "natural": tmp_path / name})
    assert config.natural == pytest.approx({"web": 0.6, "code": 0.4})


def test_explore_overrides_the_recipe_either_way(tmp_path):
    (tmp_path / "r.yaml").write_text("explore: true\n")
    options = {"recipe": tmp_path / "r.yaml", "lower": (), "upper": (), "fidelities": None,
               "target": None, "natural": None}  # fmt: skip
    for given, wanted in ((None, True), (False, False), (True, True)):
        assert read_config({**options, "explore": given}).explore is wanted


def test_explore_false_of_the_command_line_counts(tables, tmp_path, monkeypatch):
    (tmp_path / "r.yaml").write_text("explore: true\n")
    seen = []
    monkeypatch.setattr("mixopt.pipeline.from_table.propose_from_table",
                        lambda trials, config, **_: seen.append(config.explore) or 1 / 0)  # fmt: skip
    given = (
        "propose",
        "--ratios",
        tables[0],
        "--metrics",
        tables[1],
        "--recipe",
        tmp_path / "r.yaml",
    )
    for more in ((), ("--explore", "false"), ("--explore",)):
        call(*given, *more, code=1)
    assert seen == [True, False, True]


def test_names_with_commas_are_quoted():
    assert split_names('"arc/acc,none", loss') == ["arc/acc,none", "loss"]
    assert split_names(None) == []
    with pytest.raises(click.UsageError, match="--metrics .* has an open quote; close it"):
        split_names('"arc/acc,none', "--metrics")
    with pytest.raises(click.UsageError, match="an empty name"):
        split_names("a,")
