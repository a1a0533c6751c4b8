"""Reading parts of large files: ranges of JSON lines and of plain text."""

import errno
import os
from collections.abc import Iterator
from typing import Any

from mixopt.data.remote_files import TextFile

CHUNK = 1 << 16
"""Bytes that are read at a time where a line begins before a range or ends after it."""


def find_extents(file: TextFile) -> list[tuple[int, int]]:
    """Return the ranges of a file that hold data; a sparse file has holes between them.

    Args:
        file: The file.

    Returns:
        Pairs of first byte and end, in order; the whole file where it has no holes.
    """
    status = file.stat()
    whole = [(0, status.st_size)]
    if (
        not hasattr(os, "SEEK_DATA")
        or getattr(status, "st_blocks", 1 << 62) * 512 >= status.st_size
    ):
        return whole
    extents: list[tuple[int, int]] = []
    try:
        with file.open("rb") as stream:
            end = 0
            while end < status.st_size:
                start = os.lseek(stream.fileno(), end, os.SEEK_DATA)
                end = os.lseek(stream.fileno(), start, os.SEEK_HOLE)
                extents.append((start, end))
    except OSError as error:
        if error.errno != errno.ENXIO:  # which says that no data follows
            return whole
    return extents


def read_lines(stream: Any, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Read the lines that begin in a range of bytes, the last one to its end.

    Args:
        stream: Bytes of the file; can be sought.
        start: First byte of the range.
        stop: End of the range.

    Returns:
        Iterator of pairs: position of the line's end, and the line without zero bytes at its ends, which
        are the rest of a hole.
    """
    at = start
    if start:
        stream.seek(start - 1)
        if stream.read(1) not in (b"\n", b"\0"):  # a line goes on here
            at += len(_read_line(stream, stop))
    while at < stop:
        stream.seek(at)
        line = _read_line(stream, None)
        if not line:
            return
        at += len(line)
        yield at, line.strip(b"\0")


def _read_line(stream: Any, stop: int | None) -> bytes:
    """Return the bytes up to the end of the line, but give up after position `stop`."""
    parts = []
    while part := stream.readline(CHUNK):
        parts.append(part)
        if part.endswith(b"\n") or part.strip(b"\0") == b"":
            break
        if stop is not None and stream.tell() > stop:
            break
    return b"".join(parts)


def read_text(
    stream: Any, start: int, stop: int, *, is_first: bool, is_last: bool
) -> tuple[bytes, int]:
    """Read a range of plain text, without the parts of lines (or of words) at its ends.

    Args:
        stream: Bytes of the file; can be sought.
        start: First byte of the range.
        stop: End of the range.
        is_first: Whether the range begins with the file.
        is_last: Whether it ends with the file.

    Returns:
        The text, and the number of bytes that were dropped at its ends; zero bytes, which are the rest
        of a hole, are not counted.
    """
    stream.seek(start)
    text: bytes = stream.read(stop - start).strip(b"\0")
    for mark in (b"\n", b" "):
        head = 0 if is_first else text.find(mark) + 1
        tail = len(text) if is_last else text.rfind(mark) + 1
        if (is_first or 0 < head < len(text) // 2) and tail > len(text) // 2:
            return text[head:tail], head + len(text) - tail
    whole = text.decode(errors="ignore").encode()
    return (text, 0) if is_first and is_last else (whole, len(text) - len(whole))
