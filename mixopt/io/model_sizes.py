"""Sizes of models and numbers of tokens in text: `70M`, `Tiny-60M`, `pythia-1.4b-deduped`, `1.2e8`."""

import re
from typing import Any

PLAIN_FROM = 1e5
"""Smallest number without a unit that plainly is a count of parameters."""
UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
SIZE = re.compile(
    r"(?<![A-Za-z0-9.,])(\d+(?:\.\d+)?) ?(?:([kmbt])|(million|billion))[ _-]?(?:params?|parameters)?"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)
"""A number and its unit as a word of their own; `step100k` and `8x7B` are none."""
WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?) ?([kmbt])", re.IGNORECASE)
NUMBER = re.compile(r"\d+(?:[_,]\d{3})*(?:\.\d*)?(?:e\+?\d+)?", re.IGNORECASE)


def parse_size(text: str) -> float | None:
    """Return the number of parameters that a text plainly states.

    Args:
        text: A size or a name of a model.

    Returns:
        The number, or None where the text has no size or two different ones.
    """
    text = text.strip()
    if NUMBER.fullmatch(text):
        number = float(text.replace("_", "").replace(",", ""))
        return number if PLAIN_FROM <= number < float("inf") else None
    found = {
        float(digits) * UNITS[(unit or word[0]).lower()]
        for digits, unit, word in SIZE.findall(text)
    }
    return found.pop() if len(found) == 1 else None


def show_size(size: float) -> str:
    """Return a size with its unit and at most three digits.

    Args:
        size: Number of parameters (`1.24e9` becomes `1.24B`).
    """
    for unit, factor in reversed(UNITS.items()):
        if size >= factor * 0.9995:
            return f"{size / factor:.3g}{unit.upper()}"
    return f"{size:.3g}"


def whole_number(value: Any) -> Any:
    """Return a whole number that is written as text (`1e9`, which YAML reads as text) as an integer.

    Args:
        value: Of any type; what is no such text is returned as it is.

    Raises:
        ValueError: It has a unit (`10B`).
    """
    if not isinstance(value, str):
        return value
    named = WITH_UNIT.fullmatch(value.strip())
    if named:
        number = round(float(named[1]) * UNITS[named[2].lower()])
        mantissa, _, exponent = f"{number:e}".partition("e")
        raise ValueError(f"write {number:_} or {float(mantissa):g}e{int(exponent)}")
    try:
        return int(float(value)) if float(value).is_integer() else value
    except (ValueError, OverflowError):
        return value
