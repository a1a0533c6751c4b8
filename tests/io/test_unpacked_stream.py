import gzip
import io
import random

import pytest
import zstandard

from mixopt.io.unpacked_stream import UnpackedStream


@pytest.mark.parametrize("packing", [".gz", ".zst", ""])
def test_unpacked_bytes_and_how_far_they_reach(packing):
    rng = random.Random(0)
    content = bytes(rng.randrange(64) for _ in range(300_000))
    half = len(content) // 2
    pack = {".gz": gzip.compress, ".zst": zstandard.compress, "": bytes}[packing]
    packed = pack(content[:half]) + pack(content[half:])  # two members
    stream = UnpackedStream(io.BytesIO(packed), packing)
    beginning = io.BufferedReader(stream).read(50_000)
    assert beginning == content[:50_000]
    assert stream.given >= 50_000
    assert stream.taken / stream.given == pytest.approx(len(packed) / len(content), rel=0.2)
    again = UnpackedStream(io.BytesIO(packed), packing)
    assert io.BufferedReader(again).read() == content
    assert (again.taken, again.given) == (len(packed), len(content))


def test_a_cut_file_is_no_end():
    packed = gzip.compress(bytes(1000) + b"x" * 1000)
    with pytest.raises(EOFError):
        UnpackedStream(io.BytesIO(packed[:-9]), ".gz").read()


def test_a_long_window_of_zstd_is_no_damage():
    """`zstd --long=28`, written byte by byte: a frame header without a size, and one raw block."""
    content = b"a text"
    block = (len(content) << 3 | 1).to_bytes(3, "little") + content
    packed = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(28 - 10) << 3]) + block
    assert UnpackedStream(io.BytesIO(packed), ".zst").read() == content


@pytest.mark.parametrize("n_zeros", [1, 1 << 12, 10_000])
def test_zeros_after_the_content_are_no_content(n_zeros):
    """As of a tape, or of a download into a file of full size; gzip's own reader ignores them too."""
    packed = gzip.compress(b"a text") + bytes(n_zeros)
    assert io.BufferedReader(UnpackedStream(io.BytesIO(packed), ".gz")).read() == b"a text"
    both = packed + gzip.compress(b" and more")
    assert io.BufferedReader(UnpackedStream(io.BytesIO(both), ".gz")).read() == b"a text and more"
