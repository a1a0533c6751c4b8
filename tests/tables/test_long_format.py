import numpy as np
import pandas as pd
import pytest

from mixopt.tables.long_format import widen
from mixopt.tables.read_trials import read_trials

RATIOS = pd.DataFrame(np.random.default_rng(0).dirichlet(np.ones(2), 6), columns=["web", "code"])
RATIOS.insert(0, "run", [f"r{i}" for i in range(6)])
SCORES = pd.DataFrame(
    {"run": RATIOS["run"], "val_loss": np.linspace(1, 2, 6), "arc_acc": np.linspace(0, 1, 6)}
)
LONG = SCORES.melt("run", var_name="metric", value_name="value").sample(frac=1, random_state=0)


def found(trials):
    return {t.id: (dict(t.ratios), {n: s.value for n, s in t.scores.items()}) for t in trials}


EXPECTED = found(read_trials(ratios=RATIOS, metrics=SCORES))


@pytest.mark.parametrize(
    "names", [("metric", "value"), ("Metric_Name", "Score"), ("key", "metric_value")]
)
def test_a_row_for_each_metric(names, caplog):
    caplog.set_level("INFO")
    long = LONG.set_axis(["run", *names], axis="columns")
    assert found(read_trials(ratios=RATIOS, metrics=long)) == EXPECTED
    assert f"({names[1]} by {names[0]})" in caplog.text


def test_a_row_for_each_domain_and_one_table_of_both():
    long = RATIOS.melt("run", var_name="domain", value_name="ratio")
    assert found(read_trials(ratios=long, metrics=LONG)) == EXPECTED
    both = LONG.merge(RATIOS.rename(columns={"web": "ratio/web", "code": "ratio/code"}), on="run")
    read = found(read_trials(runs=both))
    one = {run: (r, [s["loss"], s["arc_acc"]]) for run, (r, s) in read.items()}
    assert one == {run: (r, [s["val_loss"], s["arc_acc"]]) for run, (r, s) in EXPECTED.items()}


def test_names_of_two_columns_and_repeats_by_seed():
    rows = LONG.assign(
        task=LONG["metric"].str.split("_").str[0], metric=LONG["metric"].str.split("_").str[1]
    )
    trials = read_trials(ratios=RATIOS, metrics=rows[["run", "task", "metric", "value"]])
    assert {m.name for m in trials.metrics} == {"val/loss", "arc/acc"}
    seeded = pd.concat([LONG.assign(seed=s) for s in (0, 1)])
    assert len(read_trials(ratios=RATIOS, metrics=seeded)) == 12


def test_a_table_with_a_row_per_run_stays():
    frame = SCORES.assign(task="x", value=1.0)
    assert widen(frame, "metrics", ["run"], "T") is frame
    twice = pd.concat([LONG, LONG])
    assert widen(twice, "metrics", ["run"], "T") is twice


def test_a_table_with_rows_of_domains_and_its_metrics():
    rows = RATIOS.merge(SCORES, on="run").melt(
        ["run", "val_loss", "arc_acc"], var_name="domain", value_name="weight"
    )
    percent = rows.assign(weight=(rows["weight"] * 100).map("{:.8f}%".format))
    for frame in (rows, percent.astype({"run": "category", "domain": "category"})):
        trials = read_trials(runs=frame)
        ratios = {trial.id: dict(trial.ratios) for trial in trials}
        assert ratios == {run: pytest.approx(ratio) for run, (ratio, _) in EXPECTED.items()}
        assert {metric.name for metric in trials.metrics} == {"loss", "arc_acc"}


@pytest.mark.parametrize("column", ["step", "seed", "epoch"])
def test_a_run_with_a_blank_cell_beside_its_id_is_kept(column):
    cells = LONG["run"].map({"r0": np.nan}).fillna(7.0).where(LONG["run"] != "r0")
    assert found(read_trials(ratios=RATIOS, metrics=LONG.assign(**{column: cells}))) == EXPECTED


@pytest.mark.parametrize("value", ["percent", "percentage", "tokens", "token_count"])
def test_amounts_of_domains_in_rows(value):
    rows = [{"run": run, "domain": d, value: v} for run, vs in {"a": (60, 40), "b": (20, 80)}.items()
            for d, v in zip(("web", "code"), vs, strict=True)]  # fmt: skip
    wide = widen(pd.DataFrame(rows), "ratios", ["run", "tokens"], "T")
    assert wide.to_dict("list") == {"run": ["a", "b"], "code": [40, 80], "web": [60, 20]}


def test_standard_errors_beside_the_values_are_theirs():
    """They became a metric of their own, or were lost."""
    trials = read_trials(ratios=RATIOS, metrics=LONG.assign(stderr=LONG["value"] / 10))
    assert {m.name for m in trials.metrics} == {"val_loss", "arc_acc"}
    score = trials[3].scores["arc_acc"]
    assert score.std_error == pytest.approx(score.value / 10)
    some = LONG.assign(se=(LONG["value"] / 10).where(LONG["metric"] == "arc_acc"))
    score = read_trials(ratios=RATIOS, metrics=some)[3].scores
    assert np.isnan(score["val_loss"].std_error)
    assert score["arc_acc"].std_error == pytest.approx(score["arc_acc"].value / 10)


def test_metrics_that_are_logged_at_steps_of_their_own():
    """Each row has another step, and `value` became the one metric."""
    rows = LONG.assign(step=LONG["metric"].map({"val_loss": 1000, "arc_acc": 900}))
    early = rows.assign(step=rows["step"] - 800, value=9.0)
    assert found(read_trials(ratios=RATIOS, metrics=pd.concat([early, rows]))) == EXPECTED
    named = SCORES.assign(dataset="pile", step=100)
    stays = pd.concat([named, named.assign(step=200)]).assign(score=1.0)
    assert widen(stays, "metrics", ["run", "step"], "T", ("step",)) is stays
