import pytest

from mixopt.io.field_names import direction_of_name, is_id, is_metric_name, plain_name


def test_names_of_ids_have_any_case_and_marks():
    assert all(map(is_id, ["run", "Run ID", "sys/id", "UUID", "index"]))
    assert not is_id("web")
    assert is_id("web", "web")
    assert plain_name("sys/Run-ID") == "runid"


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("valLoss", "lower"),
        ("eval/acc", "higher"),
        ("web", None),
        ("acc_err", "lower"),
        ("eval/wer", "lower"),
        ("n_errors", "lower"),
        ("val_rmse", "lower"),
        ("1-acc", "lower"),
        ("eval/1 - acc_norm", "lower"),
        ("1-loss", "higher"),
        ("top.1-acc", "higher"),
        ("top-1-acc", "higher"),
        ("1-shot/acc", "higher"),
        ("perplexity_score", "lower"),
        ("loss_score", "lower"),
        ("score/loss", "lower"),
        ("acc_score", "higher"),
        ("score", "higher"),
        ("loss_improvement", None),
        ("bpb_gain", None),
        ("acc_drop", None),
        ("loss gap", None),
        ("eval/acc_delta", None),
        ("loss/reduction", None),
        ("acc_drop/mmlu", None),
        ("gain_loss", "lower"),
        ("drop_f1", "higher"),
        ("acc/drop", "higher"),
        ("score/drop", "higher"),
    ],
)
def test_direction_by_name(name, direction):
    assert direction_of_name(name) == direction


def test_a_metric_whose_direction_is_unclear_is_named_like_one():
    assert is_metric_name("loss_improvement")
    assert not is_metric_name("web")
