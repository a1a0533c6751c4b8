import pytest

from mixopt.io.display import encodable, shorten, show_line


@pytest.mark.parametrize(("text", "shown"), [
    ("plain [bold] text", "plain [bold] text"),
    ("two\nlines\tand\r\nmore", "two lines and more"),
    ("\x1b[2Jcleared\x07", "[U+001B][2Jcleared[U+0007]"),
    ("a\u202eb\u200f", "a[U+202E]b[U+200F]"),
    ("Grüße, 数据", "Grüße, 数据"),
])  # fmt: skip
def test_one_line_that_steers_nothing(text, shown):
    assert show_line(text) == shown


def test_long_text_is_cut_at_a_space():
    assert shorten("one two three", 13) == "one two three"
    assert shorten("one two, three four", 13) == "one two..."
    assert shorten("w" * 40, 10) == "w" * 7 + "..."


def test_what_an_encoding_lacks_is_escaped():
    assert encodable("ü 数", "latin-1") == "ü \\u6570"
    assert encodable("ü", None) == "\\xfc"
