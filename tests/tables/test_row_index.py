import logging

import numpy as np
import pandas as pd
import pytest

import mixopt
from mixopt.errors import TrialsError
from mixopt.tables.row_index import index_as_columns

RATIOS = np.random.default_rng(0).dirichlet(np.ones(2), size=8)
TABLE = pd.DataFrame(RATIOS, columns=["ratio/a", "ratio/b"]).assign(
    run=[f"r{i}" for i in range(8)], model_size=["60M"] * 5 + ["1B"] * 3, loss=np.linspace(1, 2, 8)
)


@pytest.mark.parametrize("levels", ["run", "model_size", ["model_size", "run"]])
def test_an_index_gives_the_same_trials_as_columns(levels):
    """Without the size, runs of two models were one fit."""
    plain = mixopt.read_trials(runs=TABLE)
    assert plain.levels == ("60M", "1B")
    assert mixopt.read_trials(runs=TABLE.set_index(levels)).digest == plain.digest


def test_an_index_of_texts_without_a_name_names_the_runs(caplog):
    caplog.set_level(logging.INFO)
    frame = TABLE.set_index("run").rename_axis(None).drop(columns="model_size")
    assert [trial.id for trial in mixopt.read_trials(runs=frame)][:2] == ["r0", "r1"]
    both = mixopt.read_trials(ratios=frame[["ratio/a", "ratio/b"]], metrics=frame[["loss"]][::-1])
    assert {trial.id: trial.scores["loss"].value for trial in both}["r7"] == 2.0
    named = frame.assign(run=[f"x{i}" for i in range(8)])
    assert mixopt.read_trials(runs=named)[0].id == "x0"


def test_positions_are_no_columns():
    for frame in (
        TABLE.sort_values("loss", ascending=False),
        TABLE.rename_axis("position"),
        TABLE.set_index([TABLE.index, TABLE.index]),
    ):
        assert list(index_as_columns(frame, "It").columns) == list(TABLE.columns)


def test_a_level_that_is_a_column_too_is_not_doubled():
    frame = TABLE.set_index("run", drop=False)
    assert list(index_as_columns(frame, "It").columns) == list(TABLE.columns)


def test_levels_of_text_without_a_name_are_refused():
    frame = pd.concat({"60M": TABLE[:5], "1B": TABLE[5:]}).drop(columns="model_size")
    with pytest.raises(TrialsError, match=r"an index of 2 levels, .* name the levels"):
        mixopt.read_trials(runs=frame)
    named = frame.rename_axis(["model_size", None])
    assert mixopt.read_trials(runs=named).levels == ("60M", "1B")
