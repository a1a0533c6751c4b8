import pytest

from mixopt.errors import TrialsError
from mixopt.tables.metric_roles import make_metrics

NAMES = {"eval/x": "x", "eval/y": "y"}
DIRECTIONS = {"eval/x": "lower", "eval/y": "higher"}


def make(**given):
    arguments = {"holdout": (), "capabilities": {}, "own": {}} | given
    return make_metrics(NAMES, DIRECTIONS, "m.csv", **arguments)


def test_metrics_are_named_as_in_the_table_or_in_the_file():
    metrics = make(
        holdout=["eval/x"], capabilities={"c": ["y", "file.y"]}, own={"file.y": "eval/y"}
    )
    assert [(m.name, m.better, m.role, m.capability) for m in metrics] == [
        ("x", "lower", "holdout", "all"),
        ("y", "higher", "search", "c"),
    ]
    assert [m.column for m in metrics] == ["eval/x", "file.y"]


def test_a_metric_of_two_capabilities_is_refused():
    with pytest.raises(TrialsError, match="'x' is in the capabilities 'c' and 'd'; list it in one"):
        make(capabilities={"c": ["x"], "d": ["eval/x"]})


def test_an_unknown_metric_is_told():
    with pytest.raises(TrialsError, match="m.csv has no metric 'z'"):
        make(holdout=["z"])
