import pytest

from mixopt.errors import ExportError
from mixopt.exporters.parsing import by_name, dig, number, numbers, pair, read_constants


def test_constants_are_read_and_nothing_is_run(tmp_path):
    marker = tmp_path / "ran"
    text = f"open({str(marker)!r}, 'w')\nA = {{'x': 1.5}}\nB = len([1])\n"
    assert read_constants(text, "A") == [{"x": 1.5}]
    assert not marker.exists()
    with pytest.raises(ExportError, match="assigns no literal to B"):
        read_constants(text, "B")


@pytest.mark.parametrize("given", ["x", None, -0.1, float("nan"), float("inf"), [1]])
def test_what_is_no_weight(given):
    with pytest.raises(ExportError, match="should be a number of zero or more"):
        number(given, "w")


def test_lists_and_mappings():
    assert pair(["a", "b", "a"], [1, 2, 3], "x") == {"a": 4.0, "b": 2.0}
    with pytest.raises(ExportError, match="2 entries and 1 weights"):
        pair(["a", "b"], [1], "x")
    with pytest.raises(ExportError, match="should be a list"):
        pair("ab", [1, 2], "x")
    with pytest.raises(ExportError, match="list of numbers"):
        numbers("12", "x")
    with pytest.raises(ExportError, match="mapping of names"):
        by_name([1], "x")
    with pytest.raises(ExportError, match=r"has no a\.0\.b"):
        dig({"a": [{}]}, "a", 0, "b")
