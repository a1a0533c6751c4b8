import pytest

from mixopt.io.field_names import direction_of_name, is_id, plain_name


def test_names_of_ids_have_any_case_and_marks():
    assert all(map(is_id, ["run", "Run ID", "sys/id", "UUID", "index"]))
    assert not is_id("web")
    assert is_id("web", "web")
    assert plain_name("sys/Run-ID") == "runid"


@pytest.mark.parametrize(
    ("name", "direction"), [("valLoss", "lower"), ("eval/acc", "higher"), ("web", None)]
)
def test_direction_by_name(name, direction):
    assert direction_of_name(name) == direction
