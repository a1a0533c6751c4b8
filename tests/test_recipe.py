import pytest
from pydantic import ValidationError

from mixopt.recipe import (
    BuiltBase,
    ExpertRecipe,
    ExportRecipe,
    FilesText,
    Optimisation,
    SplitText,
    ValidationRecipe,
)


def test_models_are_closed_and_frozen():
    with pytest.raises(ValidationError, match="extra_forbidden"):
        FilesText(paths=["x"], feild="text")
    text = FilesText(paths=["x"])
    with pytest.raises(ValidationError, match="frozen"):
        text.field = "other"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FilesText(paths=[]), "at least 1 item"),
        (lambda: SplitText(heldout_share=0), "greater than 0"),
        (lambda: SplitText(heldout_share=1), "less than 1"),
        (lambda: Optimisation(tokens=0), "greater than 0"),
        (lambda: ValidationRecipe(mixtures=3), "greater than or equal to 4"),
        (lambda: ExportRecipe(format="json", out="a/b"), "should match pattern"),
        (lambda: ExpertRecipe(domain="../x", text=FilesText(paths=["x"])), "should match pattern"),
        (lambda: ExpertRecipe(domain="x", text={"kind": "magic"}), "Input tag 'magic'"),
    ],
)
def test_values_out_of_range_are_refused(make, words):
    with pytest.raises(ValidationError, match=words):
        make()


def test_every_field_says_what_it_is():
    pending = [SplitText, BuiltBase, ExpertRecipe]
    for model in pending:
        for name, field in model.model_fields.items():
            assert name in ("kind", "text", "part") or field.description, f"{model.__name__}.{name}"
