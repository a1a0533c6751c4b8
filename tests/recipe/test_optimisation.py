import pytest
from pydantic import ValidationError

from mixopt.recipe import ExpertRecipe, ExpertTraining, FilesText, Optimisation


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Optimisation(tokens=0), "greater than 0"),
        (lambda: Optimisation(tokens=1, schedule="sqrt"), "Input should be 'constant'"),
        (lambda: Optimisation(tokens=1, schedule="linear", decay_share=0), "greater than 0"),
        (lambda: ExpertTraining(tokens=1, average="best"), "Input should be 'mean'"),
        (lambda: ExpertTraining(tokens=1, average_floor=1), "less than 1"),
        (lambda: ExpertRecipe(domain="../x", text=FilesText(paths=["x"])), "should match pattern"),
        (lambda: ExpertRecipe(domain="x", text={"kind": "magic"}), "Input tag 'magic'"),
    ],
)
def test_values_out_of_range_are_refused(make, words):
    with pytest.raises(ValidationError, match=words):
        make()
