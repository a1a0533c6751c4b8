"""The base class of all config models, and types of fields that several share."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from mixopt.io.model_sizes import whole_number
from mixopt.io.parsing import require_printable
from mixopt.mixture import SUM_TOLERANCE, Mixture

Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction from 0 to 1."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_:-]*$", max_length=100)]
"""A name that can be a folder, an MLflow key and a table column."""

DomainName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_:-]*([./][A-Za-z0-9_:-]+)*$", max_length=100)
]
"""A name of a domain, which may be hierarchical: `wiki:en`, `dclm/web`, `stack.v2`."""


TokenCount = Annotated[PositiveInt, BeforeValidator(whole_number)]
"""A number of tokens, which may be written as `1e9`."""


def _normalize(ratios: dict[str, float]) -> dict[str, float]:
    """Return percent or counts, and ratios that sum to one only within rounding, as ratios."""
    total = sum(ratios.values())
    is_rounded = 1e-6 < abs(total - 1) <= 0.01 + 1e-9
    if not ratios or min(ratios.values()) < 0 or not (is_rounded or 1.5 < total < float("inf")):
        return ratios
    return {domain: ratio / total for domain, ratio in ratios.items()}


NaturalRatios = Annotated[dict[str, float], AfterValidator(_normalize)]
"""Ratios, percent or counts by domain."""


def require_mixture(where: str, ratios: Mapping[str, float]) -> None:
    """Check that ratios in a YAML are a mixture.

    Args:
        where: The field, for the message.
        ratios: By domain, as `NaturalRatios` returns them.

    Raises:
        ValueError: They are none.
    """
    total = sum(ratios.values())
    if ratios and min(ratios.values()) >= 0 and abs(total - 1) > SUM_TOLERANCE:
        raise ValueError(
            f"{where}: the ratios of {', '.join(ratios)} sum to {total:.6g}, not to 1; correct them, or "
            "give percent or counts"
        )
    try:
        Mixture(ratios)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def is_name(text: str) -> bool:
    """Return whether a text can be a name of a study, a benchmark or a capability."""
    try:
        TypeAdapter(Name).validate_python(text)
    except ValidationError:
        return False
    return True


def _require_true_or_false(plain: dict[str, Any]) -> dict[str, Any]:
    """Refuse texts that were booleans in YAML 1.1, where nothing else tells what a setting is."""
    pending: list[tuple[str, Any]] = list(plain.items())
    while pending:
        name, value = pending.pop()
        if isinstance(value, dict):
            pending += value.items()
        elif isinstance(value, list):
            pending += [(name, part) for part in value]
        elif isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
            raise ValueError(f"{name} is {value!r}, which is text; write true or false")
    return plain


OpenSettings = Annotated[dict[str, Any], AfterValidator(_require_true_or_false)]
"""Settings by name whose types others define."""

TEXT_CONTROLS = "\t\n\r"
"""Control characters of text of several lines."""


class ConfigModel(BaseModel):
    """A frozen model in which an unknown field and a control character are errors.

    Attributes:
        TEXTS: Fields that hold text of several lines: line ends and tabs are allowed in them.
    """

    TEXTS: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="after")
    def _is_printable(self) -> Self:
        for name in type(self).model_fields:
            try:
                require_printable(getattr(self, name), TEXT_CONTROLS if name in self.TEXTS else "")
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return self
