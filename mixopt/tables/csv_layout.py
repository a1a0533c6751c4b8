"""Layouts of CSV files: marks between cells, decimal commas, and ids that look like numbers."""

import csv
import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixopt.errors import require_extra

if TYPE_CHECKING:
    import pandas as pd

DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+(?:,\d+)?(?:[eE][-+]?\d+)?\s*")
THOUSANDS = re.compile(r"\s*[-+]?[1-9]\d{0,2}(?:,\d{3})*\s*")
"""What may be thousands (`1,234`) as well as a decimal comma."""
INTEGER = re.compile(r"[-+]?\d+(?:\.0*)?")
DECIMAL = re.compile(r"[-+]?\d+\.\d+|[-+]?\d+")


def read_text(path: Path) -> str:
    """Return the text of a file, which may be compressed (.gz, .zst).

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no UTF-8 text, or a damaged .zst file.
        MissingExtraError: It is a .zst file and zstandard is not installed.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except EOFError:
            raise ValueError("it is not a whole compressed file") from None
    elif path.suffix == ".zst":
        require_extra("train", "zstandard")
        import zstandard

        try:
            with zstandard.ZstdDecompressor().stream_reader(content) as stream:
                content = stream.read()
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None
    return content.decode("utf-8-sig")


def find_delimiter(header: str) -> str:
    """Return the mark between the cells of a header: tab, semicolon or comma.

    Args:
        header: First line. Names of metrics may have commas (`acc,none`), so the comma comes last.
    """
    cells = {mark: len(next(csv.reader([header], delimiter=mark), [])) for mark in "\t;,"}
    if cells["\t"] > 1:
        return "\t"
    return ";" if cells[";"] > 1 and cells[";"] >= cells[","] else ","


def convert_decimal_commas(frame: "pd.DataFrame", *, surely: bool) -> "pd.DataFrame":
    """Return the frame with numbers where all cells of a column have decimal commas (`0,25`).

    Args:
        frame: A table of a CSV file.
        surely: Whether `1,234` is 1.234, as in files with semicolons between cells; otherwise such a
            column stays as it is unless another cell tells.
    """
    import pandas as pd

    converted = frame.copy()
    for column in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[column]):
            continue
        cells = [cell for cell in frame[column] if not pd.isna(cell)]
        texts = [cell for cell in cells if isinstance(cell, str)]
        if not texts or len(texts) < len(cells) or not any("," in cell for cell in texts):
            continue
        if all(map(DECIMAL_COMMA.fullmatch, texts)) and (
            surely or not all(map(THOUSANDS.fullmatch, texts))
        ):
            converted[column] = [
                float(cell.replace(",", ".")) if isinstance(cell, str) else float("nan")
                for cell in frame[column]
            ]
    return converted


def name_ids(ids: "pd.Series[Any]") -> "pd.Series[str]":
    """Return ids as text; whole numbers are spelled alike (`3` for `3.0`, as joins make of 3).

    Args:
        ids: Cells of the id column, none missing. Hash-like ones (`12e5`) stay as they are.
    """
    texts = ids.astype(str).str.strip()
    if texts.map(lambda text: INTEGER.fullmatch(text) is not None).all():
        return texts.map(lambda text: str(int(text.split(".")[0])))
    if texts.map(lambda text: DECIMAL.fullmatch(text) is not None).all():
        return texts.map(lambda text: str(float(text)))
    return texts
