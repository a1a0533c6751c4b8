"""What all recipes are: closed, frozen, and told in the user's words."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_:-]*$")]
"""Names become folders, MLflow keys and table columns."""


class ConfigModel(BaseModel):
    """A closed, frozen model: an unknown field is an error, not a typo that nobody sees."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
