import pandas as pd
import pytest

from mixopt.errors import TrialsError
from mixopt.tables.decimal_marks import convert_decimal_commas
from mixopt.tables.table_files import read_file


def test_thousands_are_no_decimal_commas():
    frame = pd.DataFrame({"a": ["1,234", "2,500"], "c": ["x", "1,2"]})
    unsure = convert_decimal_commas(frame, surely=False)
    assert list(unsure["a"]) == ["1,234", "2,500"]
    assert list(unsure["c"]) == ["x", "1,2"]
    assert list(convert_decimal_commas(frame, surely=True)["a"]) == [1.234, 2.5]
    decided = pd.DataFrame({"b": ["1,234", "0,500"]})
    assert list(convert_decimal_commas(decided, surely=False)["b"]) == [1.234, 0.5]


def test_zero_among_thousands_is_no_decimal_comma():
    frame = pd.DataFrame({"a": ["1,234", "0", "888"]})
    assert list(convert_decimal_commas(frame, surely=False)["a"]) == ["1,234", "0", "888"]


def test_a_column_with_decimal_commas_tells_the_others():
    """Losses with three decimals were no numbers, and left out, in a German file of tabs."""
    frame = pd.DataFrame({"web": ["0,25", "0,5"], "loss": ["2,480", "3,125"]})
    assert list(convert_decimal_commas(frame, surely=False)["loss"]) == [2.48, 3.125]
    mixed = frame.assign(rate=["0.1", "0.2"])
    assert list(convert_decimal_commas(mixed, surely=False)["loss"]) == ["2,480", "3,125"]


def test_points_between_thousands_and_percent():
    frame = pd.DataFrame(
        {"a": ["1.234,5", "12.345.678,0"], "b": ["12,5 %", "0,5%"], "c": ["1.2,3", "4"]}
    )
    found = convert_decimal_commas(frame, surely=True)
    assert list(found["a"]) == [1234.5, 12345678.0]
    assert list(found["b"]) == ["12.5 %", "0.5%"]  # shares, when they are read as numbers
    assert list(found["c"]) == ["1.2,3", "4"]


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        ("run;web;tokens\na;0,5;1.234\nb;0,25;888\n", [1234, 888]),
        ("run;web;tokens\na;0,5;1.234\nb;0,25;2.000\n", [1234, 2000]),
        ("run\tweb\ttokens\na\t0,5\t1.234\nb\t0,25\t\n", [1234, None]),
        ("run;tokens\na;1.234\nb;888\n", [1234, 888]),
        ("run;tokens\na;1.234\nb;1.234.567\n", [1234, 1234567]),
        ("run;web;tokens\na;0.5;1.234\nb;0.25;2.000\n", [1.234, 2.0]),
        ("run;tokens\na;2.481\nb;3.125\n", [2.481, 3.125]),
        ("run;tokens\na;12.481\nb;3125\n", [12.481, 3125]),
        ("run,tokens\na,1.234\nb,888\n", [1.234, 888]),
    ],
)
def test_points_between_thousands_in_files(tmp_path, content, tokens):
    (tmp_path / "t.csv").write_text(content)
    found = read_file(tmp_path / "t.csv", "ratios")["tokens"]
    assert [None if pd.isna(cell) else cell for cell in found] == tokens


@pytest.mark.parametrize(
    "content",
    [
        "run;tokens\na;12.481\nb;3.125\n",
        "run;tokens\na;2.481\nb;3\n",
        "run;web;rate;tokens\na;0,5;0.1;1.234\nb;0,25;0.1;2.000\n",
    ],
)
def test_points_that_nothing_tells_are_refused(tmp_path, content):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(TrialsError, match="'tokens': '.*may be .* or have a decimal point"):
        read_file(tmp_path / "t.csv", "ratios")


def test_ids_keep_their_points(tmp_path):
    (tmp_path / "t.csv").write_text("run;web;a\n1.234;0,5;0,5\n888;0,25;0,75\n")
    assert list(read_file(tmp_path / "t.csv", "ratios")["run"]) == ["1.234", "888"]
