import numpy as np
import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.read_trials import read_trials
from mixopt.tables.step_rows import fill_from_earlier, read_steps

RATIOS = np.random.default_rng(0).dirichlet(np.ones(3), size=6)
ONCE = pd.DataFrame(RATIOS, columns=["ratio/web", "ratio/code", "ratio/math"])
ONCE.insert(0, "run", [f"r{i}" for i in range(6)])
ONCE["val_loss"] = np.linspace(2, 3, 6)


def at_steps(cells):
    """Return rows whose loss falls from step to step."""
    parts = [ONCE.assign(step=cell, val_loss=ONCE["val_loss"] - i) for i, cell in enumerate(cells)]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    "cells", [("500", "1,000"), ("500", "1k"), ("9_000", "10_000"), (" 5e2", "1e3"), ("500M", "1B")]
)
def test_steps_as_people_write_them(cells):
    """A cell that pandas could not read made an earlier checkpoint the last one."""
    losses = [t.scores["loss"].value for t in read_trials(runs=at_steps(cells))]
    assert losses == pytest.approx(ONCE["val_loss"] - 1)


def test_a_step_that_is_no_number_is_named():
    with pytest.raises(TrialsError, match="'final' in 'step' is no number.*fix the cell"):
        read_trials(runs=at_steps(("500", "final")))
    once = ONCE.assign(step="final")
    assert len(read_trials(runs=once)) == 6
    rows = at_steps(("500", "final")).assign(epoch=[1] * 6 + [2] * 6)
    assert len(read_trials(runs=rows, ignore=["step"])) == 6


def test_empty_steps_stay_missing():
    assert np.isnan(read_steps(pd.Series(["", None, " "]), "T")).all()
    assert list(read_steps(pd.Series([1, 2.5]), "T")) == [1.0, 2.5]


def test_a_metric_that_no_run_has_at_its_last_step(caplog):
    caplog.set_level("INFO", "mixopt")
    rows = at_steps((100, 200, 300)).assign(arc_acc=np.repeat([0.1, 0.2, np.nan], 6))
    rows = rows[(rows["run"] != "r2") | (rows["step"] != 200)].sample(frac=1, random_state=0)
    trials = {t.id: t.scores for t in read_trials(runs=rows)}
    assert [trials[f"r{i}"]["arc_acc"].value for i in range(6)] == [0.2, 0.2, 0.1, 0.2, 0.2, 0.2]
    assert [trials[f"r{i}"]["loss"].value for i in range(6)] == list(ONCE["val_loss"] - 2)
    assert "no run has arc_acc at its last step" in caplog.text
    assert "(step 100 to 200)" in caplog.text


def test_a_run_that_alone_lacks_a_metric_at_the_end_may_have_diverged(caplog):
    rows = at_steps((100, 200))
    rows.loc[(rows["run"] == "r4") & (rows["step"] == 200), "val_loss"] = np.nan
    rows["acc"] = 0.5 + rows["val_loss"].fillna(1.0)
    trials = read_trials(runs=rows)
    assert [t.id for t in trials if "loss" not in t.scores] == ["r4"]
    assert "val_loss has no value at the last step of r4, and earlier ones are not" in caplog.text


def test_a_column_without_any_value_stays():
    frame = pd.DataFrame({"a": [np.nan, np.nan], "b": [1.0, 2.0]})
    kept, runs, order = pd.Series([False, True]), pd.Series(["x", "x"]), pd.Series([1.0, 2.0])
    assert fill_from_earlier(frame, kept, runs, order, "T")["a"].isna().all()
