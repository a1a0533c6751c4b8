import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.one_table import split_runs


def table(**more):
    columns = {"ratio/web": [0.5, 0.25], "ratio/code": [0.5, 0.75], "metrics.loss": [3.0, 2.0]}
    return pd.DataFrame(columns | more, index=pd.Index(["a", "b"], name="run"))


def test_ratios_and_scores_are_told_apart_and_lose_their_prefixes():
    settings = {"params.lr": [0.1, 0.2], "note": ["x", "y"], "gpu_hours": [1.0, 2.0]}
    mixtures, scores, names = split_runs(table(**settings), "runs.csv", None)
    assert list(mixtures.columns) == ["web", "code"]
    assert list(scores.columns) == ["loss", "gpu_hours"]
    assert names == {"metrics.loss": "loss", "gpu_hours": "gpu_hours"}


def test_columns_that_would_have_one_name_keep_their_own():
    _, scores, names = split_runs(table(loss=[1.0, 2.0]), "runs.csv", None)
    assert list(scores.columns) == ["metrics.loss", "loss"] == list(names)


def test_chosen_metrics_bring_their_errors_and_the_cost():
    frame = table(loss_stderr=[0.1, 0.1], other=[1.0, 2.0], gpu_hours=[1.0, 2.0])
    frame = frame.rename(columns={"metrics.loss": "loss"})
    _, scores, _ = split_runs(frame, "runs.csv", None, ["loss"])
    assert list(scores.columns) == ["loss", "loss_stderr", "gpu_hours"]
    with pytest.raises(TrialsError, match="has no metric 'lss'"):
        split_runs(frame, "runs.csv", None, ["lss"])


def test_a_run_without_ratios_is_left_out(caplog):
    frame = table()
    frame.loc["parent"] = [None, None, 1.0]
    mixtures, scores, _ = split_runs(frame, "runs.csv", None)
    assert list(mixtures.index) == list(scores.index) == ["a", "b"]
    assert "1 runs without ratios are left out (parent, ...)" in caplog.text
