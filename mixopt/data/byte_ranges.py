"""Reading parts of large files: ranges of JSON lines and of plain text, and compressed streams."""

import errno
import io
import os
import zlib
from collections.abc import Iterator
from typing import Any

from mixopt.data.remote_files import TextFile

CHUNK = 1 << 16
"""Bytes that are read at a time where a line begins before a range or ends after it."""
PACKED_CHUNK = 1 << 12
"""Compressed bytes that are unpacked at a time: what was read of a file is known this closely."""


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


class UnpackedStream(io.RawIOBase):
    """Content of a compressed file (.gz, .zst), and how much of the file it was in.

    Args:
        stream: Bytes of the file.
        packing: `.gz` or `.zst`; anything else is read as it stands.
        chunk: Compressed bytes that are unpacked at a time.

    Attributes:
        taken: Compressed bytes that were read.
        given: Bytes that they were unpacked to.
    """

    def __init__(self, stream: Any, packing: str, chunk: int = PACKED_CHUNK) -> None:
        self._stream, self._packing, self._chunk = stream, packing, chunk
        self._unpacker: Any = None
        self._ready, self._at, self._at_end = b"", 0, False
        self.taken = self.given = 0

    def readable(self) -> bool:
        """Return whether the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with content; return its length, 0 at the end.

        Raises:
            EOFError: The file ends within its compressed content.
        """
        while self._at == len(self._ready) and not self._at_end:
            packed = self._stream.read(self._chunk)
            self.taken += len(packed)
            self._at_end = not packed
            self._ready, self._at = self._unpack(packed), 0
            self.given += len(self._ready)
        part = self._ready[self._at : self._at + len(buffer)]
        self._at += len(part)
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        """Close the file too."""
        self._stream.close()
        super().close()

    def _unpack(self, packed: bytes) -> bytes:
        if self._packing not in (".gz", ".zst"):
            return packed
        if not packed:
            if self._unpacker is not None and not self._unpacker.eof:
                raise EOFError("it ends within its content")
            return b""
        content = []
        while packed:
            if self._unpacker is None or self._unpacker.eof:
                self._unpacker = _open_unpacker(self._packing)
            content.append(self._unpacker.decompress(packed))
            # a file may hold one compressed part after the other, and zeros between them
            packed = self._unpacker.unused_data.lstrip(b"\0") if self._unpacker.eof else b""
        return b"".join(content)


def _open_unpacker(packing: str) -> Any:
    if packing == ".gz":
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj()
