from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixopt.errors import ArgumentTypeError, TrialsError
from mixopt.surrogates.repeats import measure_noise
from mixopt.tables.read_trials import read_trials
from mixopt.tables.repeats import settle_repeats

CASES = Path(__file__).parents[3] / "shared" / "cases"
RATIOS = np.random.default_rng(0).dirichlet(np.ones(3), size=8)
ONCE = pd.DataFrame(RATIOS, columns=["ratio/web", "ratio/code", "ratio/math"])
ONCE.insert(0, "run", [f"r{i}" for i in range(8)])
ONCE["val_loss"] = np.linspace(2, 3, 8)


def seeded(column="seed", seeds=(0, 1)):
    return pd.concat(
        [ONCE.assign(**{column: s}, val_loss=ONCE["val_loss"] + s / 10) for s in seeds]
    )


@pytest.mark.parametrize("column", ["seed", "params.seed", "Random_Seed", "replicate"])
def test_seeds_are_repeats_of_a_mixture(column, caplog):
    caplog.set_level("INFO")
    trials = read_trials(runs=seeded(column))
    assert len({t.id for t in trials}) == len(trials) == 16
    assert trials[8].id == "r0 (seed 1)"
    noise = measure_noise(trials.ratios(), trials.values(trials.metrics))
    assert noise.mixtures == 8
    assert noise.stds[0] == pytest.approx(0.1 / np.sqrt(2))
    assert "16 rows are repeats of 8 runs with other seeds" in caplog.text


def test_seeds_in_the_table_of_metrics_alone():
    """Each mixture is listed once, and was trained twice."""
    scores = seeded()[["run", "seed", "val_loss"]].sample(frac=1, random_state=0)
    trials = read_trials(ratios=ONCE[ONCE.columns[:4]], metrics=scores)
    both = read_trials(runs=seeded())
    assert {t.id: (dict(t.ratios), t.scores["val_loss"].value) for t in trials} == {
        t.id: (dict(t.ratios), t.scores["loss"].value) for t in both
    }
    with pytest.raises(TrialsError, match="1 runs are in one table only"):
        read_trials(ratios=ONCE[ONCE.columns[:4]], metrics=scores[scores["run"] != "r3"])


@pytest.mark.skipif(not CASES.is_dir(), reason="the inputs of users in ../shared/cases are missing")
def test_tables_of_users():
    assert len(read_trials(runs=CASES / "seeds" / "runs.csv")) == 16


def at_steps(column="step", steps=(100, 200, 300)):
    parts = [ONCE.assign(**{column: s}, val_loss=ONCE["val_loss"] + 100 / s) for s in steps]
    return pd.concat(parts).sample(frac=1, random_state=1)


@pytest.mark.parametrize("column", ["step", "_step", "metrics.global_step", "epoch"])
def test_the_last_step_of_each_run_is_taken(column, caplog):
    caplog.set_level("INFO")
    rows = at_steps(column)
    rows = rows[(rows["run"] != "r2") | (rows[column] < 300)]
    found = {t.id: t.scores["loss"].value for t in read_trials(runs=rows)}
    expected = ONCE.set_index("run")["val_loss"] + 100 / 300
    expected["r2"] += 100 / 200 - 100 / 300
    assert found == pytest.approx(expected.to_dict())
    assert "is taken (200 to 300); --step N takes another" in caplog.text


def test_another_step_and_seeds_with_steps():
    found = {t.id: t.scores["loss"].value for t in read_trials(runs=at_steps(), step=100)}
    assert found == pytest.approx((ONCE.set_index("run")["val_loss"] + 1).to_dict())
    both = pd.concat([at_steps().assign(seed=s) for s in (0, 1)])
    assert len(read_trials(runs=both)) == 16
    with pytest.raises(TrialsError, match="no row of step 150"):
        read_trials(runs=at_steps(), step=150)


def test_rows_that_nothing_tells_apart(caplog):
    assert len(read_trials(runs=pd.concat([ONCE, ONCE[:3]]))) == 8
    assert "3 rows that repeat another one are left out" in caplog.text
    with pytest.raises(TrialsError, match="'r0' more than once.*`seed`"):
        read_trials(runs=pd.concat([ONCE, ONCE[:3].assign(val_loss=9.0)]))


def test_a_seed_column_in_a_table_without_repeats_changes_nothing():
    assert [t.id for t in read_trials(runs=ONCE.assign(seed=range(8)))] == list(ONCE["run"])


def test_one_table_without_ids_is_joined_with_nothing(caplog):
    caplog.set_level("INFO")
    trials = read_trials(runs=ONCE.drop(columns="run"))
    assert [t.id for t in trials][:2] == ["row 1", "row 2"]
    assert "they are named by their rows" in caplog.text
    sized = ONCE.drop(columns="run").assign(model=["60M"] * 4 + ["1B"] * 4)
    assert set(read_trials(runs=sized).levels) == {"60M", "1B"}
    with pytest.raises(TrialsError, match="no column that names its runs"):
        read_trials(ratios=ONCE[ONCE.columns[1:4]], metrics=ONCE[["val_loss"]])


def test_rows_that_only_tokens_tell_apart(caplog):
    """They are steps of a run, unless fidelities are asked for; the tokens stay its cost."""
    caplog.set_level("INFO")
    rows = at_steps("tokens", (1e9, 2e9, 4e9)).assign(epoch=1)
    trials = read_trials(runs=rows)
    assert [trial.cost for trial in trials] == [4e9] * 8
    assert trials[0].scores["loss"].value == pytest.approx(
        ONCE["val_loss"][list(ONCE["run"]).index(trials[0].id)] + 100 / 4e9
    )
    assert "--step N takes another, and --fidelities A,B fits several" in caplog.text
    assert {trial.cost for trial in read_trials(runs=rows, step=2e9)} == {2e9}
    assert set(read_trials(runs=rows, fidelities=["1B", "4B"]).levels) == {"1B", "2B", "4B"}


def test_the_step_that_differs_within_a_run_counts():
    rows = at_steps("global_step").assign(step=7)  # of the last evaluation
    assert len(read_trials(runs=rows)) == 8


@pytest.mark.parametrize("column", ["step", "epoch"])
def test_a_run_with_a_blank_step_is_kept(column):
    rows = at_steps(column)
    rows = rows[(rows["run"] != "r2") | (rows[column] == 300)]
    rows.loc[rows["run"] == "r2", column] = float("nan")
    found = {t.id: t.scores["loss"].value for t in read_trials(runs=rows)}
    assert found == pytest.approx((ONCE.set_index("run")["val_loss"] + 100 / 300).to_dict())


def test_rows_whose_steps_are_all_blank_are_told():
    rows = at_steps().assign(step=float("nan"))
    with pytest.raises(TrialsError, match="more than once"):
        read_trials(runs=rows)


def test_runs_without_the_step_are_counted(caplog):
    rows = at_steps()
    rows = rows[~rows["run"].isin(["r2", "r5"]) | (rows["step"] > 100)]
    assert len(read_trials(runs=rows, step=100)) == 6
    assert "2 runs have no row of step 100 and are left out (r" in caplog.text
    caplog.clear()
    assert len(read_trials(runs=rows, step=200)) == 8
    assert "have no row" not in caplog.text


def test_a_run_without_the_step_needs_no_scores_in_another_table(caplog):
    rows = at_steps()
    rows = rows[(rows["run"] != "r2") | (rows["step"] > 100)]
    ratios, scores = ONCE[ONCE.columns[:4]], rows[["run", "step", "val_loss"]]
    trials = read_trials(ratios=ratios, metrics=scores, step=100)
    assert sorted(t.id for t in trials) == [f"r{i}" for i in range(8) if i != 2]
    assert "1 runs have no row of step 100 and are left out (r2)" in caplog.text
    with pytest.raises(TrialsError, match="1 runs are in one table only"):
        read_trials(ratios=ratios, metrics=scores[scores["run"] != "r2"], step=100)


def test_a_run_without_the_step_at_one_fidelity_is_left_out_there():
    """Each table has a row of each run at both sizes."""
    rows = pd.concat([at_steps().assign(model_size=size) for size in ("1M", "60M")])
    rows = rows[(rows["run"] != "r2") | (rows["model_size"] != "60M") | (rows["step"] > 100)]
    ratios = pd.concat([ONCE[ONCE.columns[:4]].assign(model_size=s) for s in ("1M", "60M")])
    trials = read_trials(ratios=ratios, metrics=rows[["run", "step", "model_size", "val_loss"]],
                         step=100)  # fmt: skip
    assert [t.fidelity for t in trials if t.id == "r2"] == ["1M"]
    assert len(trials) == 15


@pytest.mark.parametrize("column", ["train/global_step", "trainer/global_step"])
def test_steps_of_trainers(column):
    frame = pd.DataFrame({column: [1, 2, 1, 2], "loss": [4.0, 3.0, 2.0, 1.0]})
    kept, ids = settle_repeats(frame, pd.Series(["a", "a", "b", "b"]), "T")
    assert kept["loss"].tolist() == [3.0, 1.0]
    assert ids.tolist() == ["a", "b"]


def test_a_step_is_a_number():
    with pytest.raises(ArgumentTypeError, match="step is '100'; give a number"):
        read_trials(runs=seeded("step", (100, 200)), better="lower", step="100")
