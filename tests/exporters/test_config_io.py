import pytest
import yaml

from mixopt.errors import ExportError
from mixopt.exporters.config_io import (
    dig,
    dump_yaml,
    parse_weight,
    read_literal,
    weights_by_name,
    zip_weights,
)


def test_constants_are_read_and_nothing_is_run(tmp_path):
    marker = tmp_path / "ran"
    text = f"open({str(marker)!r}, 'w')\nA = {{'x': 1.5}}\nB = len([1])\n"
    assert read_literal(text, "A") == {"x": 1.5}
    assert not marker.exists()
    with pytest.raises(ExportError, match="assigns no literal to B"):
        read_literal(text, "B")


@pytest.mark.parametrize("given", ["x", None, -0.1, float("nan"), float("inf"), [1]])
def test_what_is_no_weight(given):
    with pytest.raises(ExportError, match="should be a number of zero or more"):
        parse_weight(given, "w")


def test_lists_and_mappings():
    assert zip_weights(["a", "b", "a"], [1, 2, 3], "x") == {"a": 4.0, "b": 2.0}
    with pytest.raises(ExportError, match="2 entries and 1 weights"):
        zip_weights(["a", "b"], [1], "x")
    with pytest.raises(ExportError, match="should be a list"):
        zip_weights("ab", [1, 2], "x")
    with pytest.raises(ExportError, match="the weights of x is '12'; it should be a list"):
        zip_weights(["a", "b"], "12", "x")
    with pytest.raises(ExportError, match="mapping of names"):
        weights_by_name([1], "x")
    with pytest.raises(ExportError, match=r"has no a\.0\.b"):
        dig({"a": [{}]}, "a", 0, "b")


@pytest.mark.parametrize(
    "name", ["1e3", "0o17", "1E-2", ".5e1", "1e+3", "0b1", "12", "nan", "-1e3"]
)
def test_names_that_parsers_of_yaml_1_2_read_as_numbers_are_quoted(name):
    written = dump_yaml({name: [name]})
    assert written == f"'{name}':\n- '{name}'\n"
    assert yaml.safe_load(written) == {name: [name]}


def test_other_names_are_written_as_they_are():
    for name in ("web", "web:news", "e3", "1e3x", "Kölsch", "a-b/c"):
        assert dump_yaml([name]) == f"- {name}\n"
