"""The base class of all config models, and types of fields that several share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction from 0 to 1."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_:-]*$")]
"""A name that can be a folder, an MLflow key and a table column."""


class ConfigModel(BaseModel):
    """A frozen model in which an unknown field is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
