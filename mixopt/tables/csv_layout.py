"""Layouts of CSV files: where the table begins, marks between cells, ids that look like numbers."""

import csv
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MARK_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
"""First line by which Excel tells the mark between cells."""
NUMBER = re.compile(r"\s*[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?\s*")
EMPTY_LINES = re.compile(r"[\s\ufeff]*\n|")
INTEGER = re.compile(r"[-+]?\d+(?:\.0*)?")
DECIMAL = re.compile(r"[-+]?\d+\.\d+|[-+]?\d+")


def find_delimiter(header: str) -> str:
    """Return the mark between the cells of a header: tab, semicolon, comma or bar.

    Args:
        header: First line. Names of metrics may have commas (`acc,none`), so the comma comes last.
    """
    cells = {mark: len(next(csv.reader([header], delimiter=mark), [])) for mark in "\t;,|"}
    if cells["\t"] > 1:
        return "\t"
    if cells[";"] > 1 and cells[";"] >= cells[","]:
        return ";"
    return "|" if cells["|"] > 1 and cells[","] < 2 else ","


def find_table(text: str) -> tuple[str, str]:
    """Return a CSV file from its header on, and the mark between its cells.

    Args:
        text: Content, perhaps with Excel's `sep=;` or lines of comments (`# ...`) before the header.

    Raises:
        ValueError: Cells are parted by spaces, or by bars on both sides.
    """
    text = _skip_empty_lines(text)
    stated = MARK_LINE.match(text)
    if stated:
        return text[stated.end() :], stated[1]
    while text.startswith("#"):
        line, _, rest = text.partition("\n")
        names, first = (_split(each) for each in (line.lstrip("# "), rest.partition("\n")[0]))
        # a header may begin with the sign of comments itself (numpy.savetxt)
        if len(names) == len(first) > 1 and any(map(NUMBER.fullmatch, first)):
            return text.lstrip("# "), find_delimiter(line)
        text = _skip_empty_lines(rest)
    header = text.partition("\n")[0].strip("\r\n ")
    if len(_split(header)) == 1 and ("  " in header or _is_parted_by_spaces(text)):
        raise ValueError("its cells are parted by spaces: save it with commas or tabs")
    if header.startswith("|"):
        raise ValueError("it is a table of Markdown: save it with commas or tabs")
    return text, find_delimiter(header)


def _is_parted_by_spaces(text: str) -> bool:
    """Return whether the first two lines have equally many words, and the second one numbers."""
    names, cells = (line.split() for line in (*text.splitlines()[:2], "", "")[:2])
    return len(names) == len(cells) > 1 and any(map(NUMBER.fullmatch, cells))


def _skip_empty_lines(text: str) -> str:
    """Return a text from its first line with content on; a tab there parts the name of row numbers."""
    return EMPTY_LINES.sub("", text, count=1).lstrip("\ufeff ")


def _split(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=find_delimiter(line)), [])


def name_ids(ids: "pd.Series[Any]") -> "pd.Series[str]":
    """Return ids as text; numbers are spelled alike (`3` for `3.0`, as joins make of 3).

    Args:
        ids: Cells of the id column, none missing. Hash-like ones (`12e5`) stay as they are.
    """
    texts = ids.astype(str).str.strip()
    if texts.map(lambda text: INTEGER.fullmatch(text) is not None).all():
        return texts.map(lambda text: str(int(text.split(".")[0])))
    if texts.map(lambda text: DECIMAL.fullmatch(text) is not None).all():
        spelled = texts.map(lambda text: str(float(text)))
        # `1.1` and `1.10` in one table are two runs
        return texts if texts.nunique() > spelled.nunique() else spelled
    return texts
