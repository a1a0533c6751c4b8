import pytest

from mixopt.errors import TrialsError
from mixopt.tables.columns import (
    capability_of,
    find_ratio_columns,
    find_std_errors,
    split_prefix,
    strip_common_prefix,
    without_tracker,
)


@pytest.mark.parametrize(
    ("column", "domain"),
    [
        ("ratio/web", "web"), ("params.ratio/web:science", "web:science"), ("mixture.code", "code"),
        ("config.mix_web", "web"), ("loss", None), ("ratio/", None), ("training_loss", None),
    ],
)  # fmt: skip
def test_ratios_by_their_prefix(column, domain):
    assert split_prefix(column, ("ratio", "mixture", "mix")) == domain


def test_ratio_columns_of_a_mixed_table():
    columns = ["run", "ratio/a", "ratio/b", "weight/a", "weight/b", "loss"]
    assert find_ratio_columns(columns, None) == {"ratio/a": "a", "ratio/b": "b"}
    assert find_ratio_columns(["a", "b", "loss"], ["b", "a"]) == {"b": "b", "a": "a"}
    with pytest.raises(TrialsError, match="Did you mean 'code'"):
        find_ratio_columns(["code", "web"], ["cod"])
    with pytest.raises(TrialsError, match="look like ratios"):
        find_ratio_columns(["a", "b"], None)


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


def test_names():
    assert without_tracker("metrics.val_loss") == "val_loss"
    assert strip_common_prefix(["train_the_pile_a", "train_the_pile_b"]) == ["a", "b"]
    assert strip_common_prefix(["web:a", "web:b"]) == ["web:a", "web:b"]
    assert capability_of("x", {"math": ["x", "y"]}) == "math"
    assert capability_of("z", {"math": ["x", "y"]}) == "all"
