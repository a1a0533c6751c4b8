import pytest

from mixopt.errors import TrialsError
from mixopt.tables.ratio_names import find_ratio_columns


def test_ratio_columns_of_a_mixed_table():
    columns = ["run", "ratio/a", "ratio/b", "weight/a", "weight/b", "loss"]
    assert find_ratio_columns(columns, None) == {"ratio/a": "a", "ratio/b": "b"}
    assert find_ratio_columns(["a", "b", "loss"], ["b", "a"]) == {"b": "b", "a": "a"}
    with pytest.raises(TrialsError, match="Did you mean 'code'"):
        find_ratio_columns(["code", "web"], ["cod"])
    with pytest.raises(TrialsError, match="look like ratios"):
        find_ratio_columns(["a", "b"], None)
