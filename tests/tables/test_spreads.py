import numpy as np
import pandas as pd
import pytest

from mixopt.tables.read_trials import read_trials
from mixopt.tables.spreads import drop_spreads, find_std_errors, is_spread


def test_standard_errors_beside_their_metric():
    columns = [
        "loss",
        "loss_stderr",
        "acc,none",
        "acc_stderr,none",
        "se/x",
        "x",
        "alone_se",
        "bpb/se",
        "bpb",
    ]
    assert find_std_errors(columns) == {
        "loss": "loss_stderr", "acc,none": "acc_stderr,none", "x": "se/x", "bpb": "bpb/se"
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["acc_std", "acc/var", "acc_ci_lower", "acc_ci_upper", "acc_ci95_low", "acc_n", "acc.count",
     "acc_upper", "val_acc_n", "acc_sem", "f1_n"],
)  # fmt: skip
def test_names_of_spreads_beside_a_metric(name):
    """They were metrics, and the number of items was maximised."""
    assert is_spread(name, ["run", "acc", "val_acc", "f1_mean", name])


def test_what_ends_so_without_its_metric_is_none():
    for name in ("pass_n", "token_count", "lower", "acc_n_shot", "upper"):
        assert not is_spread(name, ["acc", "loss", name])


def test_means_with_their_standard_errors_and_counts():
    web = np.linspace(0.1, 0.9, 6)
    frame = pd.DataFrame({"ratio/web": web, "ratio/code": 1 - web, "acc_mean": web, "acc_sem": web / 9,
                          "acc_n": 100 * web, "acc_ci_lower": web - 0.1})  # fmt: skip
    trials = read_trials(runs=frame)
    assert [metric.name for metric in trials.metrics] == ["acc_mean"]
    assert trials[1].scores["acc_mean"].std_error == pytest.approx(web[1] / 9)
    assert find_std_errors(["acc_mean", "acc", "acc_se"]) == {"acc": "acc_se"}
    assert list(drop_spreads(frame[["acc_mean", "acc_n"]], "T").columns) == ["acc_mean"]
