"""Read files that others wrote: compressed, in UTF-8 or UTF-16, with line ends of any system."""

import codecs
import gzip
import zlib
from pathlib import Path

from mixopt.errors import require_extra
from mixopt.io.unpacked_stream import UnpackedStream

UNPACKED_AT_ONCE = 1 << 16
"""Compressed bytes that are unpacked at a time."""


def read_content(path: Path) -> bytes:
    """Return the content of a file, which may be compressed (.gz, .zst).

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is a damaged compressed file, or ends within its content.
        MissingExtraError: It is a .zst file and zstandard is not installed.
    """
    if path.suffix == ".gz":
        try:
            return gzip.decompress(path.read_bytes())
        except (EOFError, zlib.error):
            raise ValueError("it is not a whole compressed file") from None
    if path.suffix != ".zst":
        return path.read_bytes()
    require_extra("train", "zstandard")
    import zstandard

    try:
        # the library's own stream ends without an error where the file does within its content
        with UnpackedStream(path.open("rb"), ".zst", UNPACKED_AT_ONCE) as stream:
            return stream.read() or b""
    except EOFError:
        raise ValueError("it is not a whole compressed file") from None
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None


def read_text(path: Path) -> str:
    """Return the text of a file, which may be compressed (.gz, .zst), with the line ends of Unix.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is neither UTF-8 nor UTF-16 text, or a damaged compressed file.
        MissingExtraError: It is a .zst file and zstandard is not installed.
    """
    content = read_content(path)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Excel's "Unicode text"
        return _unify_ends(content.decode("utf-16"))
    try:
        return _unify_ends(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8 text: save it as UTF-8") from None


def _unify_ends(text: str) -> str:
    """Return a text with the line ends of Unix; Excel's for Macintosh are carriage returns."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
