from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from mixopt.config.base import ConfigModel


class Example(ConfigModel):
    number: int = 1


def test_closed_and_frozen():
    with pytest.raises(ValidationError, match="nmber"):
        Example(nmber=2)
    with pytest.raises(ValidationError, match="frozen"):
        Example().number = 3


class _Prompt(ConfigModel):
    TEXTS: ClassVar[frozenset[str]] = frozenset({"text"})

    text: str = ""
    options: dict[str, Any] = {}


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\x00", "\x85", "\u2028"])
def test_strings_hold_no_control_characters(character):
    for options in ({"a": f"x{character}"}, {f"x{character}": 1}, {"a": [{"b": character}]}):
        with pytest.raises(ValidationError, match="control character"):
            _Prompt(options=options)


def test_texts_have_lines():
    assert _Prompt(text="a\n\tb\r\n").text == "a\n\tb\r\n"
    with pytest.raises(ValidationError, match="control character"):
        _Prompt(text="a\x1b[2J")
