"""A stream of the content of a compressed file (.gz, .zst); a file that is cut off raises an error."""

import io
import zlib
from typing import Any

PACKED_CHUNK = 1 << 12
"""Compressed bytes that are unpacked at a time: what was read of a file is known this closely."""
LARGEST_WINDOW = 1 << 31
"""Bytes of the longest window of zstd (`--long=31`); its default refuses windows above 128 MiB."""


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

    def tell(self) -> int:
        """Return the position in the content."""
        return self.given - len(self._ready) + self._at

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
            if self._unpacker is None:
                self._unpacker = _open_unpacker(self._packing)
            elif self._unpacker.eof:
                # a file may hold one compressed part after the other, and zeros after each
                packed = packed.lstrip(b"\0")
                if not packed:
                    break
                self._unpacker = _open_unpacker(self._packing)
            content.append(self._unpacker.decompress(packed))
            packed = self._unpacker.unused_data if self._unpacker.eof else b""
        return b"".join(content)


def _open_unpacker(packing: str) -> Any:
    if packing == ".gz":
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
