import pytest
from pydantic import ValidationError

from mixopt.config.text import FilesTextConfig, SplitTextConfig


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FilesTextConfig(paths=[]), "at least 1 item"),
        (lambda: SplitTextConfig(heldout_share=0), "greater than 0"),
        (lambda: SplitTextConfig(heldout_share=1), "less than 1"),
    ],
)
def test_values_out_of_range_are_refused(make, words):
    with pytest.raises(ValidationError, match=words):
        make()
