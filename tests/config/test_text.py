import pytest
from pydantic import ValidationError

from mixopt.config.text import FilesTextConfig, SplitTextConfig


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FilesTextConfig(paths=[]), "at least 1 item"),
        (lambda: SplitTextConfig(heldout_share=0), "greater than 0"),
        (lambda: SplitTextConfig(heldout_share=1), "less than 1"),
        (lambda: FilesTextConfig(paths=["a"], tokens=0), "greater than 0"),
        (lambda: FilesTextConfig(paths=["a"], tokens="some"), "'all'"),
    ],
)
def test_values_out_of_range_are_refused(make, words):
    with pytest.raises(ValidationError, match=words):
        make()


def test_fields_that_are_left_out_are_in_no_key():
    plain = FilesTextConfig(paths=["a"]).model_dump(mode="json")
    assert set(plain) == {"kind", "paths", "field", "group", "part", "heldout_share"}
    assert FilesTextConfig(paths=["a"], tokens="all").model_dump(mode="json")["tokens"] == "all"
