"""Untrusted text made safe to show: in one line, where nothing steers a terminal."""

from unicodedata import category

from mixopt.io.parsing import CONTROL_CATEGORIES

DIRECTIONS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Marks of direction in Unicode."""
DOTS = "..."
"""End of a text that was cut."""


def show_directions(text: str) -> str:
    """Return text whose marks of direction are visible: in a name they would turn a sentence around.

    Args:
        text: What is shown.
    """
    for sign in DIRECTIONS:
        text = text.replace(sign, f"[U+{ord(sign):04X}]")
    return text


def show_line(text: str) -> str:
    """Return text as one line without control characters.

    Args:
        text: Line breaks and tabs become spaces; other control characters and marks of direction are
            written out, such as `[U+001B]`.
    """
    text = show_directions(text)
    if text.isprintable():
        return text
    text = " ".join(text.splitlines()).replace("\t", " ")
    return "".join(
        f"[U+{ord(sign):04X}]" if category(sign) in CONTROL_CATEGORIES else sign for sign in text
    )


def shorten(text: str, most: int) -> str:
    """Return text cut at a space to at most `most` characters, with three dots where it was cut."""
    if len(text) <= most:
        return text
    cut = text[: most - len(DOTS)]
    whole = cut.rpartition(" ")[0]
    return f"{(whole if len(whole) > most // 2 else cut).rstrip(' ,;:')}{DOTS}"


def encodable(text: str, encoding: str | None) -> str:
    """Return text that an encoding has; characters that it lacks become escapes of Python.

    Args:
        text: The text.
        encoding: Of a stream; None is ASCII.
    """
    name = encoding or "ascii"
    return text.encode(name, "backslashreplace").decode(name)
